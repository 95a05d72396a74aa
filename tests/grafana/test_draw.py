"""The dashboards drawn without Grafana: from a real Prometheus, and looked at in a real browser."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from grafana import queries
from grafana.dashboards import files
from grafana.draw import axes, colors, page, pages, plot, source, units
from grafana.draw.__main__ import main
from grafana.draw.markup import Markup, tag
from grafana.draw.page import STYLE
from grafana.draw.source import Window
from grafana.draw.view import View
from grafana.queries import Json
from k8s import dashboards as command
from tests.grafana.conftest import GONE, LINKS, Answer
from tests.grafana.drawn import Pages
from tests.grafana.prometheus import Prometheus
from tests.grafana.served import Served
from tests.support.processes import until
from tests.support.servers import free_port

SERVICE = ("namespace", "job", "deployment")
EVIL = "\"'></title></style><script>window.hit = 1</script><img src=x onerror='window.hit = 1'>{{8*8}}"
LINES = [
    ("error", "error GET /page\u2028 500 a fault"),  # which JSON leaves as it is, and splitlines() does not
    ("info", f"info {EVIL}"),
]
LOADED = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files()}


def logs() -> str:
    """What VictoriaLogs answers: https://docs.victoriametrics.com/victorialogs/querying/#querying-logs"""
    entries = [
        {"log.level": level, "kubernetes.pod_name": "links-1", "_time": f"2026-11-23T04:56:4{at}.730459Z", "_msg": text}
        for at, (level, text) in enumerate(LINES)
    ]
    return "\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


@contextmanager
def view_of(variables: dict[str, str], prometheus: str, victorialogs: str, now: float | None = None) -> Iterator[View]:
    """Of the last minutes, of a Prometheus that looks every second."""
    service = {name: variables[name] for name in SERVICE}
    with source.Prometheus(prometheus) as metrics, source.VictoriaLogs(victorialogs) as logs:
        window = Window.until(metrics.now() if now is None else now, 240, 1)
        yield View(metrics, logs, window, service, "https://runbooks.example/a b")


def overview(view: View, folder: Path) -> Path:
    """The first page alone."""
    file = folder / "service-overview.html"
    file.write_text(page.draw(LOADED[file.stem], view, {}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def view(busy: list[Answer], prometheus: Prometheus) -> Iterator[View]:
    """Until it was last in use."""
    (failing,) = next(each.series for each in busy if each.query.panel == "Failing requests")
    end = int(failing["value"][0]) + 1
    until(lambda: prometheus.values("vector(time())")[0] > end + 1)
    # What was scraped before has been stored by then: a slow target's samples arrive late, with an earlier time.
    until(lambda: prometheus.values("min(timestamp(up))")[0] > end)
    with Served(logs()) as address, view_of(LINKS, prometheus.url, f"http://{address}", end) as view:
        yield view


@pytest.fixture(scope="module")
def drawn(view: View, tmp_path_factory: pytest.TempPathFactory) -> Pages:
    """Of a service in use."""
    return Pages(pages.write(view, tmp_path_factory.mktemp("drawn")))


@pytest.fixture
def said(view: View, prometheus: Prometheus) -> Callable[[Json], list[Json]]:
    """What Prometheus says at the end of the time shown."""

    def said(target: Json) -> list[Json]:
        asked = queries.fill_in(target["expr"], {**view.service, **view.window.variables})
        found: list[Json] = prometheus.get("query", query=asked, time=str(view.window.end))["result"]
        return [each for each in found if each["value"][1] not in ("NaN", "+Inf", "-Inf")]

    return said


def of_type(kind: str) -> list[tuple[str, Json]]:
    found = [(name, panel) for name, dashboard in LOADED.items() for panel in queries.panels(dashboard)]
    return [(name, panel) for name, panel in found if panel["type"] == kind]


def test_every_panel_is_there(drawn: Pages) -> None:
    for name, dashboard in LOADED.items():
        shown = [(panel["title"], panel["row"]) for panel in drawn.panels[name]]
        drawn_ones = [panel for panel in dashboard["panels"] if not panel.get("collapsed")]
        assert shown == [(panel["title"], panel["type"] == "row") for panel in drawn_ones]
        abouts = [panel["about"] for panel in drawn.panels[name] if not panel["row"]]
        assert abouts == [panel["description"].replace("**", "") for panel in drawn_ones if panel["type"] != "row"]


def test_nothing_spills_over_and_nothing_overlaps(drawn: Pages) -> None:
    for name, panels in drawn.panels.items():
        for panel in panels:
            assert not panel["spills"] + panel["sticksOut"], (name, panel["title"])
        for at, one in enumerate(panels):
            left, top, right, bottom = one["box"]
            assert right > left >= 0
            assert right <= 1600
            for other in panels[at + 1 :]:
                beside = other["box"][0] >= right or other["box"][2] <= left
                below = other["box"][1] >= bottom or other["box"][3] <= top
                assert beside or below, (name, one["title"], other["title"])


def test_a_time_at_the_very_left_fits_beside_narrow_values(tmp_path: Path) -> None:
    window = Window(end=120, seconds=60, step=1, scrape=1)
    body = plot.frame(Markup(), window, [(0, "0"), (1, "1")], 6, [])
    panel = tag("section", tag("h3", "A"), body, class_="panel", style="grid-area:1/1/span 8/span 6")
    file = tmp_path / "a.html"
    file.write_text(tag("style", Markup(STYLE.read_text())) + tag("main", panel))
    shown = Pages([file]).one("A")
    assert shown["times"][0].endswith(":00")
    assert not shown["spills"] + shown["sticksOut"]


def test_a_page_needs_nothing_but_itself(drawn: Pages) -> None:
    assert drawn.complaints == []
    assert set(drawn.foreign.values()) == {0}
    files = [f"{name}.html" for name in LOADED]
    assert set(map(tuple, drawn.links.values())) == {(*files, "https://runbooks.example/a b/README.md")}


def test_numbers_are_what_prometheus_says(drawn: Pages, said: Callable[[Json], list[Json]]) -> None:
    for name, panel in of_type("stat"):
        shown = drawn.one(panel["title"], name)
        defaults = panel["fieldConfig"]["defaults"]
        found = said(panel["targets"][0])
        if found:
            number = float(found[0]["value"][1])
            words = {
                key: each["text"]
                for mapping in defaults.get("mappings", [])
                for key, each in mapping["options"].items()
            }
            wanted = words.get(f"{number:g}") or units.show(number, defaults["unit"], defaults.get("decimals"))
            assert shown["value"] == wanted, panel["title"]
        else:
            assert shown["nothing"] == defaults["noValue"]
    assert drawn.one("Links made")["value"] not in ("0", None)


def test_legends_have_the_last_values(drawn: Pages, said: Callable[[Json], list[Json]]) -> None:
    compared = 0
    for name, panel in of_type("timeseries"):
        shown = drawn.one(panel["title"], name)
        wanted = []
        for target in panel["targets"]:
            for series in said(target):
                legend = target["legendFormat"]
                for label, value in series["metric"].items():
                    legend = legend.replace(f"{{{{{label}}}}}", value)
                wanted.append((legend, units.show(float(series["value"][1]), panel["fieldConfig"]["defaults"]["unit"])))
        present = [(entry[0], entry[1]) for entry in shown["legend"] if entry[1]]
        assert sorted(present) == sorted(wanted), panel["title"]
        assert len(shown["times"]) >= 2 or shown["nothing"], panel["title"]
        compared += len(wanted)
    assert compared > 100


def test_lines_are_where_the_values_are(drawn: Pages, view: View, prometheus: Prometheus) -> None:
    (panel,) = [panel for _, panel in of_type("timeseries") if panel["title"] == "Answer times in numbers"]
    asked = {name: str(getattr(view.window, name)) for name in ("start", "end", "step")}
    found: list[list[tuple[float, float]]] = []
    for target in panel["targets"]:
        (series,) = prometheus.get("query_range", query=view.fill_in(target["expr"]), **asked)["result"]
        found.append([(time, float(value)) for time, value in series["values"]])
    axis = axes.values([value for line in found for _, value in line], "s", least=0)
    wanted = [
        [f"{plot.x(view.window.share(time))} {plot.y(axis.share(value))}" for time, value in line] for line in found
    ]
    points = [re.split("[ML]", line)[1:] for line in drawn.one(panel["title"])["lines"]]
    assert points == wanted[::-1]  # the first is drawn last
    assert axis.ticks[-1] >= max(value for line in found for _, value in line) > 0


def test_tables_are_what_prometheus_says(drawn: Pages, said: Callable[[Json], list[Json]]) -> None:
    (errors,) = [panel for _, panel in of_type("table") if panel["title"] == "Top errors"]
    (row,) = said(errors["targets"][0])
    shown = drawn.one("Top errors")
    assert shown["head"] == ["Route", "Method", "Status", "Answers"]
    assert shown["rows"] == [["/{slug}", "GET", "500", units.show(float(row["value"][1]), "short")]]
    pods = drawn.one("Pods", "runtime-rollout")
    (wanted,) = [panel for _, panel in of_type("table") if panel["title"] == "Pods"]
    assert pods["head"] == [override["matcher"]["options"] for override in wanted["fieldConfig"]["overrides"]]
    cells = dict(zip(pods["head"], pods["rows"][0], strict=True))
    (memory,) = said(wanted["targets"][-1])
    assert cells["Memory"] == units.show(float(memory["value"][1]), "bytes")
    assert cells["Memory"].endswith(" MiB")
    assert cells["Answers"] == "yes"  # for 1
    assert len(pods["rows"]) == 1  # joined from ten queries


def test_thresholds_have_their_colours(drawn: Pages) -> None:
    failing, missing, requests = (drawn.one(title) for title in ("Failing requests", "Pods missing", "Requests"))
    assert (failing["color"], failing["filled"]) == (colors.NAMED["red"], True)
    assert (missing["color"], missing["filled"]) == (colors.NAMED["green"], True)
    assert (requests["color"], requests["filled"]) == (colors.NAMED["blue"], False)
    shares = {name: color for name, _, color in drawn.one("Failing requests by route")["legend"]}
    assert shares["/{slug}"] == "rgb(242, 73, 92)"
    for name, left, color in drawn.one("Error budgets left")["legend"]:
        share = float(left.removesuffix("%")) / 100  # the less, the worse
        assert color == ("rgb(242, 73, 92)" if share < 0 else "rgb(255, 152, 48)" if share < 0.25 else ""), name


def test_the_heat_map_has_a_cell_for_each_bucket_with_requests(
    drawn: Pages, view: View, prometheus: Prometheus
) -> None:
    ((_, panel),) = of_type("heatmap")
    asked = {name: str(getattr(view.window, name)) for name in ("start", "end", "step")}
    expression = view.fill_in(panel["targets"][0]["expr"])
    result = prometheus.get("query_range", query=expression, **asked)["result"]
    below: dict[float, float] = {}
    wanted = 0
    for series in sorted(result, key=lambda each: float(each["metric"]["le"])):
        for time, value in series["values"]:
            wanted += float(value) - below.get(time, 0) > 1e-9
            below[time] = float(value)
    shown = drawn.one("Answer times")
    assert len(shown["cells"]) == wanted > 0
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d, up to [\d.e+-]+ s: \S+ req/s", each) for each in shown["cells"])
    assert shown["dots"]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d, \S+ [mµ]?s, trace [0-9a-f]{32}", each) for each in shown["dots"])


def test_marks_are_where_something_changed(drawn: Pages) -> None:
    """And not those of before the time shown."""
    for panels in drawn.panels.values():
        for panel in panels:
            if panel["times"]:
                assert len(panel["marks"]) == 1, panel["title"]
                assert re.fullmatch(r"version [\d.]+, \d\d:\d\d:\d\d", panel["marks"][0])


def test_log_lines_have_the_colour_of_their_level(drawn: Pages) -> None:
    (newest, *_), (oldest, *_) = drawn.one("Logs")["logs"]
    assert (newest, oldest) == (LINES[1][1], LINES[0][1])
    (_, info), (_, error) = drawn.one("Logs")["logs"]
    assert (info, error) == ("rgb(115, 191, 105)", "rgb(242, 73, 92)")


def test_what_comes_from_outside_is_text(tmp_path: Path) -> None:
    """Values of labels, names of alerts, log lines."""
    value = EVIL.replace("\\", "\\\\").replace('"', '\\"')
    text = "".join(
        f"{name}{{{', '.join(f'{label}=@' for label in labels.split())}{more}}} 1\n".replace("@", f'"{value}"')
        for name, labels, more in [
            ("http_request_duration_seconds_count", "route method", ', status="500"'),
            ("http_request_duration_seconds_bucket", "route method", ', status="500", le="+Inf"'),
            ("process_resident_memory_bytes", "pod", ""),
            ("ALERTS", "alertname severity", ', alertstate="firing"'),
            ("ALERTS_FOR_STATE", "alertname severity", ""),
        ]
    )
    with Served(text) as target, Served(logs()) as lines:
        server = Prometheus(tmp_path, [(target, {"namespace": "links", "job": "links"})], [])
        try:
            until(lambda: len(server.series("count_over_time(up[1m]) >= 3")) == 1)
            with view_of(LINKS, server.url, f"http://{lines}") as view:
                drawn = Pages([overview(view, tmp_path)])
        finally:
            server.stop()
    assert set(drawn.foreign.values()) == {0}
    assert drawn.complaints == []
    assert drawn.one("Requests by route")["legend"][0] == [EVIL, "0 req/s", ""]
    assert drawn.one("Memory by pod")["legend"][0][0] == EVIL
    alerts = drawn.one("Firing alerts")
    assert alerts["rows"][0][:2] == [EVIL, EVIL]
    (link,) = alerts["links"]
    assert re.fullmatch(r"https://runbooks\.example/a b/[\w.%~-]+\.md", link)
    assert drawn.one("Logs")["logs"][0][0].endswith(EVIL)
    for panels in drawn.panels.values():
        assert not [panel["title"] for panel in panels if panel["spills"] + panel["sticksOut"]]


@pytest.mark.usefixtures("idle")
def test_what_has_no_data_says_why(prometheus: Prometheus, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with view_of(GONE, prometheus.url, nobody) as view:
        drawn = Pages([overview(view, tmp_path)])
    assert drawn.one("Requests are judged")["nothing"] == "no pod answers"
    assert drawn.one("Failing requests")["nothing"] == "cannot be judged"
    assert drawn.one("Requests")["value"] is None
    for panel in ("Alerts firing", "Firing alerts"):
        assert drawn.one(panel)["nothing"] == "needs the chart's prometheusRule"  # and not that nothing fires
    assert drawn.one("Error budgets left")["nothing"] == "needs the chart's prometheusRule"
    assert drawn.one("Answer times")["nothing"] == "no pod answers"
    assert drawn.one("Top errors")["nothing"] == "cannot be judged"
    assert drawn.one("Logs")["nothing"].startswith(f"VictoriaLogs at {nobody} does not answer")
    for panels in drawn.panels.values():
        assert not [panel["title"] for panel in panels if panel["spills"] + panel["sticksOut"]]


def test_the_command_draws_and_takes_pictures(
    busy: list[Answer], prometheus: Prometheus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert busy
    arguments = [f"--prometheus={prometheus.url}", "--range=1m", "--scrape-interval=1s"]
    assert main([*arguments, f"--out={tmp_path / 'out'}", f"--png={tmp_path / 'png'}"]) == 0
    wanted = [tmp_path / "out" / f"{name}.html" for name in LOADED] + [
        tmp_path / "png" / f"{name}.png" for name in LOADED
    ]
    assert capsys.readouterr().out.split() == [str(path) for path in wanted]
    for picture in wanted[len(LOADED) :]:
        assert 10_000 < picture.stat().st_size < 250_000
        with Image.open(picture) as image:
            assert (image.format, image.mode, image.width) == ("PNG", "P", 1600)
            assert image.height > 900
            assert image.convert("RGB").getpixel((2, 2)) == (0x11, 0x12, 0x17)  # the page's background


def test_make_dashboards_draws_where_there_is_no_grafana(
    busy: list[Answer],
    prometheus: Prometheus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert busy
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command, "DRAWN", tmp_path / "drawn")
    facts = dict.fromkeys(("url", "ca", "alertmanager", "token"), "http://127.0.0.1:1")
    (tmp_path / "up.json").write_text(
        json.dumps(facts | {"namespace": "links", "release": "links", "prometheus": prometheus.url})
    )
    assert command.command(tmp_path / "up.json") == 0
    drawn = [tmp_path / "drawn" / f"{name}.html" for name in LOADED]
    listed = capsys.readouterr().out.partition("Where to look:")[2].split("\n")
    end = 1 + 2 * len(LOADED)
    assert listed[1:end:2] == [f"  Drawn of now: {text}" for text in command.boards().values()]
    assert listed[2:end:2] == [f"    {file.as_uri()}" for file in drawn]
    assert all("</html>" in file.read_text(encoding="utf-8") for file in drawn)


def test_a_prometheus_that_is_away_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert main([f"--prometheus={address}", f"--out={tmp_path / 'out'}"]) == 1
    assert capsys.readouterr().err.startswith(f"Prometheus at {address} does not answer")
    with Served("up 1\n") as other:
        assert main([f"--prometheus=http://{other}", f"--out={tmp_path / 'out'}"]) == 1
    assert capsys.readouterr().err.startswith(f"What answers at http://{other} is no Prometheus")
    assert main(["--prometheus=http://127.0.0.1:many", f"--out={tmp_path / 'out'}"]) == 1
    assert "is no address (Invalid port" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
