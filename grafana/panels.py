"""Panels as all dashboards have them. Each says what it shows, what is bad, and what to do then."""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, heatmap, loki, prometheus, table
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import logs as logs_panel
from grafana_foundation_sdk.builders import stat as stat_panel
from grafana_foundation_sdk.builders import timeseries as timeseries_panel
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana import queries
from grafana.promql import ZERO

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
VICTORIALOGS = model.DataSourceRef(type_val=queries.VICTORIALOGS, uid="${logs}")
LOKI = model.DataSourceRef(type_val="loki", uid="${loki}")

GREEN, ORANGE, RED, BLUE, PURPLE, GREY = "green", "orange", "red", "blue", "purple", "text"
CLEAR = "transparent"

MOST_LINES = 500

# Shown in place of an empty panel.
NOT_SCRAPED = "no pod answers"
NOT_MEASURED = "not measured by this image"
NOT_JUDGED = "cannot be judged"
NO_RULES = "needs the chart's prometheusRule"
NO_KUBERNETES = "needs kube-state-metrics"
# Of a service that has none.
NO_TASKS, NO_WORKERS, NO_JOBS = "no pod runs tasks", "no worker", "no cron job and no job"

Panel = stat_panel.Panel | timeseries_panel.Panel | table.Panel | heatmap.Panel | logs_panel.Panel
Steps = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Text:
    """What a panel is called and says of itself."""

    title: str
    shows: str
    bad: str
    do: str

    @property
    def description(self) -> str:
        return f"{self.shows}\n\n**Bad:** {self.bad}\n\n**Do:** {self.do}"


@dataclass(frozen=True)
class Query:
    """`legend` is Grafana's: {{label}} stands for a label."""

    expression: str
    legend: str = ""


def stat(
    text: Text, expression: str, unit: str, steps: Steps = (), *, width: int = 4, absent: str = NOT_SCRAPED,
    decimals: float | None = None, fine: str = GREEN, words: dict[int, str] | None = None,
) -> Panel:  # fmt: skip
    """One large number, of now. Its background has the colour of the last of `steps` that it reaches, else `fine`.

    `words` stand in the place of values.
    """
    panel = (
        stat_panel.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(PROMETHEUS)
        .with_target(_target(Query(expression, text.title), "A").instant())
        .unit(unit)
        .no_value(absent)
        .thresholds(_thresholds(steps, fine))
        .color_scheme(_color(model.FieldColorModeId.THRESHOLDS))
        .color_mode(looks.BigValueColorMode.BACKGROUND_SOLID if steps else looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .text_mode(looks.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .height(4)
        .span(width)
    )
    if words:
        results = {str(value): model.ValueMappingResult(text=text) for value, text in words.items()}
        panel = panel.mappings([model.ValueMap(options=results)])
    return panel if decimals is None else panel.decimals(decimals)


def graph(
    text: Text, queries: Sequence[Query], unit: str, steps: Steps = (), *, width: int = 8, absent: str = NOT_SCRAPED,
    stacked: bool = False, bars: bool = False, zero: bool = True, most: float | None = None,
    colors: dict[str, str] | None = None, base: str = CLEAR,
) -> Panel:  # fmt: skip
    """Lines over time. `steps` are dashed limits, and what is below all of them is `base`; `colors` are by regular
    expression of the legend."""
    panel = (
        timeseries_panel.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(PROMETHEUS)
        .targets([_target(query, ref).range() for query, ref in zip(queries, "ABCDEFGH", strict=False)])
        .unit(unit)
        .no_value(absent)
        .thresholds(_thresholds(steps, base))
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                looks.GraphThresholdsStyleMode.DASHED if steps else looks.GraphThresholdsStyleMode.OFF
            )
        )
        # By name: a route or a pod has one colour in all panels.
        .color_scheme(_color(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .draw_style(looks.GraphDrawStyle.BARS if bars else looks.GraphDrawStyle.LINE)
        .line_width(0 if bars else 1)
        .fill_opacity(60 if bars else 25 if stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL if stacked else looks.StackingMode.NONE))
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
        .height(8)
        .span(width)
    )
    if zero:
        panel = panel.min(0)
    if most is not None:
        panel = panel.max(most)
    for pattern, color in (colors or {}).items():
        fixed = {"mode": "fixed", "fixedColor": color}
        panel = panel.override_by_regexp(f"/{pattern}/", [model.DynamicConfigValue("color", fixed)])
    return panel


def heat_map(text: Text, metric: str, labels: str, *, width: int = 12) -> Panel:
    """A histogram over time, in seconds, with exemplars: dots that lead to a trace."""
    rate = f"sum by (le) (rate({metric}_bucket{{{labels}}}[$__rate_interval]))"
    # Several empty buckets where there is none: of one alone Grafana cannot tell how wide it is.
    none = " or ".join(f'label_replace({ZERO}, "le", "{le}", "", "")' for le in ("0.1", "1.0", "+Inf"))
    return (
        heatmap.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(PROMETHEUS)
        .with_target(
            _target(Query(f"{rate} or on() ({none})", "{{le}}"), "A")
            .range()
            .format(PromQueryFormat.HEATMAP)
            .exemplar(True)
        )
        .unit("reqps")
        .no_value(NOT_SCRAPED)
        .calculate(False)
        .cell_gap(1)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Purples").steps(32))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit("s").min(0).axis_placement(looks.AxisPlacement.LEFT))
        .cell_values(heatmap.CellValues().unit("reqps"))
        .exemplars_color(ORANGE)
        .show_color_scale(False)
        .show_legend()
        .show_y_histogram()
        .mode(looks.TooltipDisplayMode.SINGLE)
        .height(8)
        .span(width)
    )


@dataclass(frozen=True)
class Column:
    """Of a table: a label, or the value of a query. `link` is an address in which ${__value.raw} is the cell's."""

    title: str
    unit: str = "string"
    expression: str = ""
    label: str = ""
    steps: Steps = ()
    link: str = ""
    texts: tuple[tuple[str, str, str], ...] = ()  # value, the text in its place, its colour


def rows(
    text: Text, by: str, columns: Sequence[Column], *, width: int = 24, height: int = 8, absent: str = NOT_SCRAPED,
    sort: str = "", descending: bool = False,
) -> Panel:  # fmt: skip
    """A table of now with a row for each value of the label `by`; of several queries, joined by it."""
    values = [column for column in columns if column.expression]
    refs = dict(zip([column.title for column in values], "ABCDEFGHIJKLMNOP", strict=False))
    names = {column.label: column.title for column in columns if column.label}
    names |= {(f"Value #{refs[each.title]}" if len(values) > 1 else "Value"): each.title for each in values}
    panel = (
        table.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(PROMETHEUS)
        .targets([
            _target(Query(each.expression), refs[each.title]).instant().format(PromQueryFormat.TABLE)
            for each in values
        ])
        .unit("string")
        .no_value(absent)
        .show_header(True)
        .cell_height(looks.TableCellHeight.SM)
        .height(height)
        .span(width)
    )  # fmt: skip
    if len(values) > 1:
        panel = panel.with_transformation(
            model.DataTransformerConfig("joinByField", options={"byField": by, "mode": "outer"})
        )
    order = {name: index for index, name in enumerate(names)}
    panel = panel.with_transformation(
        # Only the columns that are asked for: a query's Time is none of them.
        model.DataTransformerConfig("filterFieldsByName", options={"include": {"names": list(names)}})
    ).with_transformation(
        model.DataTransformerConfig(
            "organize", options={"indexByName": order, "renameByName": names, "excludeByName": {}}
        )
    )
    for column in columns:
        panel = panel.override_by_name(column.title, _cell(column))
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    return panel


def logs(text: Text, expression: str, *, width: int = 24, height: int = 10) -> Panel:
    """Lines of VictoriaLogs, by LogsQL."""
    return _lines(text, LogsQL(expression), VICTORIALOGS, width, height)


def loki_logs(text: Text, expression: str, *, width: int = 24, height: int = 10) -> Panel:
    """Lines of Loki, by LogQL."""
    target = loki.Dataquery().expr(expression).query_type("range").max_lines(MOST_LINES).ref_id("A").datasource(LOKI)
    return _lines(text, target, LOKI, width, height)


@dataclass(frozen=True)
class LogsQL(Dataquery, Builder[Dataquery]):
    """A query of VictoriaLogs' data source, which the SDK does not know.

    https://docs.victoriametrics.com/victorialogs/integrations/grafana/#logs-panel
    """

    expression: str

    def build(self) -> Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": "A",
            "datasource": VICTORIALOGS.to_json(),
            "expr": self.expression,
            "queryType": "instant",  # "Raw Logs" in its editor
            "maxLines": MOST_LINES,
        }


def _lines(
    text: Text, target: Builder[Dataquery], source: model.DataSourceRef, width: int, height: int
) -> logs_panel.Panel:
    return (
        logs_panel.Panel()
        .title(text.title)
        .description(text.description)
        .datasource(source)
        .with_target(target)
        .unit("string")
        .no_value("no line in this time")
        .show_time(True)
        .show_labels(False)
        .show_common_labels(False)
        .wrap_log_message(True)
        .enable_log_details(True)
        .sort_order(looks.LogsSortOrder.DESCENDING)
        .dedup_strategy(looks.LogsDedupStrategy.NONE)
        .height(height)
        .span(width)
    )


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expression).ref_id(ref).datasource(PROMETHEUS)
    return target.legend_format(query.legend) if query.legend else target


def _thresholds(steps: Steps, base: str) -> build.ThresholdsConfig:
    listed = [model.Threshold(None, base), *(model.Threshold(value, color) for value, color in steps)]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(listed)


def _color(mode: model.FieldColorModeId) -> build.FieldColor:
    return build.FieldColor().mode(mode)


def _cell(column: Column) -> list[model.DynamicConfigValue]:
    properties = [model.DynamicConfigValue("unit", column.unit)]
    if column.steps:
        properties += [
            model.DynamicConfigValue("thresholds", _thresholds(column.steps, CLEAR).build().to_json()),
            model.DynamicConfigValue("custom.cellOptions", {"type": "color-background", "mode": "basic"}),
        ]
    if column.texts:
        results = {
            value: {"text": text, "color": color, "index": index}
            for index, (value, text, color) in enumerate(column.texts)
        }
        properties += [
            model.DynamicConfigValue("mappings", [{"type": "value", "options": results}]),
            model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
        ]
    if column.link:
        link = {"title": column.title, "url": column.link, "targetBlank": True}
        properties.append(model.DynamicConfigValue("links", [link]))
    return properties
