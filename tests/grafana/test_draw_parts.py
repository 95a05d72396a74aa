"""What pages are drawn with: units, axes, colours, tables, times."""

import re
from datetime import timedelta, timezone

import pytest

from grafana import queries
from grafana.dashboards import files
from grafana.draw import axes, colors, source, table, units
from grafana.draw.__main__ import main
from grafana.draw.source import Window
from grafana.draw.view import View
from tests.grafana.conftest import LINKS

LOADED = queries.load(files())


@pytest.mark.parametrize("text", ["", "15", "m", "0m", "-1m", "1.5h", "15 m", "1y"])
def test_what_is_no_duration_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([f"--range={text}"])
    assert "is no duration" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "color"), [(-1, "#73bf69"), (0.09, "#73bf69"), (0.1, "#ff9830"), (0.5, "#f2495c"), (9, "#f2495c")]
)
def test_a_threshold_counts_from_its_value_on(value: float, color: str) -> None:
    pairs = [(None, "green"), (0.1, "orange"), (0.5, "red")]
    steps = [{"value": least, "color": name} for least, name in pairs]
    assert colors.reached(value, steps) == color


def test_what_has_no_value_has_the_panels_word_for_it() -> None:
    def prometheus(found: list[list[source.Sample]]) -> source.Prometheus:
        class Known(source.Prometheus):
            def instant(self, expression: str, _: Window) -> list[source.Sample]:
                return found[int(expression)]

        return Known("http://127.0.0.1")

    def cells(names: list[str]) -> list[dict[str, str]]:
        return [{"pod": name} for name in names]

    steps = [
        {"id": "joinByField", "options": {"byField": "pod", "mode": "outer"}},
        {"id": "organize", "options": {"indexByName": {"pod": 0, "Value #A": 1}, "renameByName": {"pod": "Pod"},
                                       "excludeByName": {"Value #C": True}}},
    ]  # fmt: skip
    panel = {
        "title": "t",
        "targets": [{"refId": ref, "expr": str(at)} for at, ref in enumerate("ABC")],
        "transformations": steps,
        "fieldConfig": {"defaults": {"unit": "none", "noValue": "?"}, "overrides": []},
        "options": {"sortBy": [{"displayName": "Value #A", "desc": True}]},
    }
    found = [[source.Sample(labels, at) for at, labels in enumerate(cells(names))] for names in (["a", "b"], ["c"], [])]
    view = View(prometheus(found), None, Window.until(1000, 60, 1), {}, "")
    html = table.draw(panel, view)
    rows = [re.findall("<td[^>]*>([^<]*)</td>", row) for row in html.split("<tr>")[2:]]
    assert rows == [["b", "1", "?"], ["a", "0", "?"], ["c", "?", "0"]]
    with pytest.raises(ValueError, match="t: transformation reduce is not known"):
        table.draw(panel | {"transformations": [{"id": "reduce", "options": {}}]}, view)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        *((0.0, "percentunit", 2, "0.00%"), (0.12345, "percentunit", None, "12.3%"), (1, "percentunit", 0, "100%")),
        *((0, "s", None, "0 s"), (0.0000012, "s", None, "1.20 µs"), (0.00099998, "s", None, "1 ms")),
        *((0.0123, "s", 0, "12 ms"), (1.5, "s", None, "1.50 s"), (60, "s", None, "1 min")),
        *((150, "s", None, "2.50 mins"), (-120, "s", None, "-2 mins"), (-36.4, "percentunit", 0, "-3640%")),
        *((7200, "s", None, "2 hours"), (86_400, "s", None, "1 day"), (3e-9, "s", None, "3 ns")),
        *((0, "bytes", None, "0 B"), (1023, "bytes", None, "1023 B"), (1536, "bytes", None, "1.50 KiB")),
        *((107_000_000, "bytes", None, "102 MiB"), (3 * 1024**3, "bytes", None, "3 GiB")),
        *((0.888, "reqps", None, "0.888 req/s"), (1234, "reqps", None, "1.23K req/s")),
        *((2.5e6, "ops", None, "2.50M ops/s"), (61.04, "cpm", None, "61.0 cpm")),
        *((3, "none", 0, "3"), (1234, "none", None, "1234"), (0.00264, "none", None, "0.00264")),
        *((-0.001, "none", 0, "0"), (1408, "short", None, "1.41 K"), (999, "short", None, "999")),
        (2e6, "short", None, "2 Mil"),
    ],
)  # fmt: skip
def test_units(value: float, unit: str, decimals: int | None, text: str) -> None:
    assert units.show(value, unit, decimals) == text


def test_every_unit_of_ours_is_known() -> None:
    used = {query.unit for dashboard in LOADED for query in queries.queries(dashboard, LINKS)}
    assert used - {"string", "dateTimeFromNow"} <= units.UNITS
    for unit in units.UNITS:
        assert units.show(1, unit)
    with pytest.raises(ValueError, match="unit parsecs is not known"):
        units.show(1, "parsecs")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "now"), (1, "1 second ago"), (59, "59 seconds ago"), (60, "1 minute ago"), (7200, "2 hours ago")),
        (9e5, "10 days ago"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert units.ago(seconds) == text


@pytest.mark.parametrize(
    ("found", "unit", "ends", "ticks"),
    [
        ([0, 48.3], "reqps", (0, None), "0 req/s, 10 req/s, 20 req/s, 30 req/s, 40 req/s, 50 req/s"),
        ([0, 0], "s", (0, None), "0 s, 200 ms, 400 ms, 600 ms, 800 ms, 1 s"),
        ([0, 140], "s", (0, None), "0 s, 30 s, 1 min, 1.5 mins, 2 mins, 2.5 mins"),
        ([0, 3], "none", (0, None), "0, 1, 2, 3"),
        ([0, 0.3], "none", (0, None), "0, 0.1, 0.2, 0.3"),
        ([90_000_000], "bytes", (0, None), "0 B, 32 MiB, 64 MiB, 96 MiB"),
        ([0.9993, 1], "percentunit", (None, 1), "99.92%, 99.94%, 99.96%, 99.98%, 100%"),
        ([1, 1], "percentunit", (None, 1), "0%, 20%, 40%, 60%, 80%, 100%"),
        ([-7, -7], "none", (None, None), "-7, -6"),
    ],
)
def test_an_axis_has_round_values(
    found: list[float], unit: str, ends: tuple[float | None, float | None], ticks: str
) -> None:
    axis = axes.values(found, unit, *ends)
    assert ", ".join(units.tick(tick, unit) for tick in axis.ticks) == ticks
    assert all(0 <= axis.share(each) <= 1 for each in [*found, *axis.ticks])


def test_times_are_round_where_people_live() -> None:
    start = 1_795_390_000  # 2026-11-22 23:26:40 UTC
    india = timezone(timedelta(hours=5, minutes=30))
    assert [text for _, text in axes.times(start, start + 900, 4, india)] == ["05:00", "05:05", "05:10"]
    assert [text for _, text in axes.times(start, start + 6 * 3600, 7, india)] == [
        f"{hour:02}:00" for hour in range(5, 11)
    ]
    assert axes.times(start, start + 60, 4, india)[0] == (start + 5, "04:56:45")
    assert [text for _, text in axes.times(start, start + 3 * 86_400, 4, india)] == ["24 Nov", "25 Nov", "26 Nov"]


def test_a_window_is_looked_at_as_closely_as_grafana_does() -> None:
    window = Window.until(1_000_007.9, 900, 15)
    assert (window.start, window.end, window.step) == (999_105, 1_000_005, 15)
    assert window.variables == {"__interval": "15s", "__rate_interval": "60s", "__range": "900s"}
    day = Window.until(1_000_007.9, 86_400, 15)
    assert day.variables["__rate_interval"] == f"{day.step + 15}s"
    assert len(day.times) == 86_400 // day.step + 1 <= source.MOST_POINTS + 1
