"""What the service is for: links that are made and followed."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from grafana import promql as q
from grafana.frame import Section, frame
from grafana.panels import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Query, Text, graph, stat


def build() -> Dashboard:
    return frame("links", "Links", "Links made and followed, and those that led nowhere.", [TOTALS, LINKS, CLICKS])


def total(metric: str, labels: str = q.SERVICE) -> str:
    """Over the time shown, in whole numbers: Prometheus estimates what lies between its looks."""
    return f"round({q.increase(metric, labels)})"


def per_minute(metric: str, labels: str = q.SERVICE) -> str:
    return f"60 * ({q.per_second(metric, labels)})"


def week_before(metric: str) -> str:
    return f"60 * (sum(rate({metric}{{{q.SERVICE}}}[$__rate_interval] offset 1w)) or {q.ZERO})"


NOT_FOUND, EXPIRED = (f'{q.SERVICE}, reason="{reason}"' for reason in ("not_found", "expired"))
FOLLOWED = f"sum({q.rate('links_followed_total')})"
MISSED = f"sum({q.rate('links_missed_total')})"

TOTALS = Section("", [
    stat(Text("Links made", "Links that were made in the time shown.", "None on a day when people work.",
              "See whether requests to make one fail, or whether none arrive."),
         total("links_created_total"), "short", fine=BLUE),
    stat(Text("Links followed", "Redirects that were answered in the time shown.", "Far fewer than a week before.",
              "See the service overview: they fail, or they do not arrive."),
         total("links_followed_total"), "short", fine=GREEN),
    stat(Text("Led nowhere", "Share of visits to links that do not exist or have expired, in the last minutes.",
              "More than a few per cent: a printed or published link is wrong, or somebody tries names out.",
              "The access log tells the paths."),
         q.share(MISSED, f"{FOLLOWED} + {MISSED}"), "percentunit", [(0.05, ORANGE), (0.5, RED)], decimals=1),
    stat(Text("Not found", "Visits to links that do not exist, in the time shown.",
              "Many more than usual.", "The access log tells the paths."),
         total("links_missed_total", NOT_FOUND), "short", fine=ORANGE),
    stat(Text("Expired", "Visits to links that have expired, in the time shown.",
              "A wave: a link that is still wanted has ended.", "Ask its owner whether to prolong it."),
         total("links_missed_total", EXPIRED), "short", fine=PURPLE),
    stat(Text("Clicks lost", "Clicks that could not be counted in the time shown.",
              "Any: numbers shown to owners are too small.",
              "See whether the database took them: failed writes are below."),
         total("link_clicks_dropped_total"), "short", [(1, RED)]),
])  # fmt: skip

LINKS = Section("Links", [
    graph(Text("Followed", "Redirects per minute, and a week before. Stale: those that a cache had past their time, "
               "while the database was unavailable.", "A fall that the week before did not have, or any that is stale.",
               "See the service overview; where redirects are stale, the database."),
          [Query(per_minute("links_followed_total"), "now"),
           Query(week_before("links_followed_total"), "a week before"),
           Query(per_minute("links_followed_stale_total"), "stale")],
          "cpm", width=12, colors={"^now$": GREEN, "^a week": GREY, "^stale$": ORANGE}),
    graph(Text("Made", "Links made per minute, and a week before.", "None for long while people work.",
               "See whether tokens are refused, and whether writes fail."),
          [Query(per_minute("links_created_total"), "now"),
           Query(week_before("links_created_total"), "a week before")],
          "cpm", width=12, colors={"^now$": BLUE, "^a week": GREY}),
    graph(Text("Led nowhere, by reason", "Visits per minute to links that do not exist or have expired.",
               "A wave of names that do not exist: somebody tries them out.",
               "The access log tells the addresses; the rate limits slow them down."),
          [Query(per_minute("links_missed_total", NOT_FOUND), "not found"),
           Query(per_minute("links_missed_total", EXPIRED), "expired")],
          "cpm", width=12, bars=True, stacked=True, colors={"^not found$": ORANGE, "^expired$": PURPLE}),
    graph(Text("Changes", "Links changed and deleted per minute.", "Many deletions at once: a script gone wrong.",
               "The access log tells whose token it is."),
          [Query(per_minute("links_changed_total"), "changed"), Query(per_minute("links_deleted_total"), "deleted")],
          "cpm", width=12, bars=True, stacked=True, colors={"^changed$": BLUE, "^deleted$": RED}),
])  # fmt: skip

CLICKS = Section("Counting of clicks", [
    graph(Text("Clicks waiting", "Clicks that pods have counted and not written yet.",
               "A line that only rises: they are not written, and are lost when the pod ends.",
               "See whether the database takes writes."),
          [Query(f"sum(link_clicks_waiting{{{q.SERVICE}}}) or {q.ZERO}", "waiting")], "short",
          colors={"^waiting$": ORANGE}),
    graph(Text("Clicks written", "Clicks written to the database per minute.",
               "None while links are followed.", "See whether the database takes writes."),
          [Query(per_minute("link_clicks_flushed_total"), "written")], "cpm", colors={"^written$": GREEN}),
    graph(Text("Failed writes", "Batches of clicks per minute that the database did not take, and clicks lost.",
               "Any loss. Batches that failed are tried again.",
               "See the dependencies: the database refuses or is slow."),
          [Query(per_minute("link_click_flush_failures_total"), "batches failed"),
           Query(per_minute("link_clicks_dropped_total"), "clicks lost")],
          "cpm", colors={"^batches": ORANGE, "^clicks": RED}),
])  # fmt: skip
