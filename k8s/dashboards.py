"""`make dashboards`: what the local cluster's service does now, and where to look."""

import json
import math
import os
import sys
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import httpx

from grafana import dashboards as built
from grafana.draw import pages
from k8s import facts
from k8s.components import Page, ports
from toolkit.paths import BUILD
from toolkit.process import Failure
from toolkit.prometheus import Prometheus

RANGE = "30m"
DRAWN_SECONDS = 1800
DRAWN = BUILD / "dashboards"
MOST_ROWS = 8


class Place(NamedTuple):
    what: str
    url: str


def command(file: Path) -> int:
    """Raises Failure where no cluster is up."""
    known = facts.load(file)
    print("\n".join(["Now:", *now(known)]))
    found = places(known)
    print("\n".join(["", "Where to look:", listing(found)]))
    if has_desktop() and answers(found[0].url) and webbrowser.open(found[0].url):
        print(f"\nOpened {found[0].url} in the browser.")
    return 0


def listing(found: list[Place]) -> str:
    return "\n".join(f"  {place.what}\n    {place.url}" for place in found)


def boards() -> dict[str, str]:
    """What the dashboards show, by their UIDs."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in built.files()]
    return {each["uid"]: each["description"][0].lower() + each["description"][1:].rstrip(".") for each in found}


def places(known: dict[str, str]) -> list[Place]:
    """The best first: Grafana where it runs, pages drawn like its own otherwise, and then Prometheus's."""
    found = []
    release = {"namespace": known["namespace"], "job": known["release"]}
    if grafana := known.get("grafana"):
        chosen = urlencode({f"var-{name}": value for name, value in release.items()})
        found += [
            Place(f"Grafana: {text}", f"{grafana}/d/{uid}?{chosen}&refresh=10s") for uid, text in boards().items()
        ]
    else:
        found += drawn(known)
    prometheus, alertmanager = known["prometheus"], known["alertmanager"]
    if has_pages(prometheus):
        panels = _panels(list(queries(**release).values()))
        found.append(Place("Prometheus: requests, errors, durations, lag", f"{prometheus}/query?{panels}"))
        found.append(Place("Prometheus: alerts and rules", f"{prometheus}/alerts"))
    else:
        found.append(
            Place("Prometheus: its API (this build has no pages), as for alerts", f"{prometheus}/api/v1/alerts")
        )
    selector = f'{{namespace="{known["namespace"]}"}}'
    if has_pages(alertmanager):
        found.append(Place("Alertmanager: what fires", f"{alertmanager}/#/alerts?filter={quote(selector)}"))
    else:
        found.append(Place("Alertmanager: its API (this build has no pages)", f"{alertmanager}/api/v2/alerts"))
    return found + [
        page(port.page, known[name], known) for name, port in ports().items() if port.page and name in known
    ]


def page(about: Page, address: str, known: dict[str, str]) -> Place:
    """What a component of the platform says of where to look."""
    stand_for = {"namespace": known["namespace"], "release": known["release"]}
    fields = {name: value.format(**stand_for) for name, value in about.query.items()}
    return Place(about.what, f"{address}{about.path}{'?' if fields else ''}{urlencode(fields)}")


def drawn(known: dict[str, str]) -> list[Place]:
    """The dashboards as pages that show this moment; none if Prometheus does not answer."""
    try:
        files = pages.draw(
            DRAWN,
            prometheus=known["prometheus"],
            victorialogs=known.get("victorialogs"),
            namespace=known["namespace"],
            job=known["release"],
            deployment=known["release"],
            seconds=DRAWN_SECONDS,
        )
    except Failure:  # said already: what there is now could not be had either
        return []
    return [Place(f"Drawn of now: {text}", file.as_uri()) for file, text in zip(files, boards().values(), strict=True)]


def queries(namespace: str, job: str) -> dict[str, str]:
    """What is worth a look, by what it tells."""
    labels = f'namespace="{namespace}",job="{job}"'
    buckets = f"rate(http_request_duration_seconds_bucket{{{labels}}}[1m])"
    return {
        "requests a second, by route": f"sum by (route) (rate(http_request_duration_seconds_count{{{labels}}}[1m]))",
        "errors of ours a second, by route and status": (
            f'sum by (route, status) (rate(http_request_duration_seconds_count{{{labels},status=~"5.."}}[1m]))'
        ),
        "seconds that 99 % take at most, by route": f"histogram_quantile(0.99, sum by (le, route) ({buckets}))",
        "longest hold-up of the last minute, by pod": f"max by (pod) (event_loop_lag_max_seconds{{{labels}}})",
        "requests in flight, by pod": f"sum by (pod) (http_requests_in_flight{{{labels}}})",
        "alerts": f'sum by (alertname, severity, alertstate) (ALERTS{{namespace="{namespace}"}})',
    }


def now(known: dict[str, str]) -> Iterator[str]:
    """The queries' values at this moment."""
    try:
        with Prometheus(known["prometheus"]) as prometheus:
            for what, expression in queries(known["namespace"], known["release"]).items():
                yield f"  {what}"
                yield from _rows(prometheus.query(expression))
    except Failure as failure:
        yield f"    {failure} `make up` brings the cluster up."


def _rows(result: list[dict[str, Any]]) -> Iterator[str]:
    """The largest first; what has no value at the moment, such as a quantile of no requests, is left out."""
    values: list[tuple[float, str]] = []
    for each in result:
        if not math.isnan(value := float(each["value"][1])):
            values.append((value, "  ".join(each["metric"].values())))
    for value, name in sorted(values, reverse=True)[:MOST_ROWS]:
        yield f"    {value:10.3f}  {name}"
    if not values:
        yield "    none"


def _panels(expressions: list[str]) -> str:
    """The state of Prometheus's query page, as it keeps it in its address."""
    fields: dict[str, str] = {}
    for number, expression in enumerate(expressions):
        panel = {"expr": expression, "tab": "graph", "range_input": RANGE}
        fields |= {f"g{number}.{name}": value for name, value in panel.items()}
    return urlencode(fields)


def has_pages(url: str) -> bool:
    """Debian's packages of Prometheus and Alertmanager come without, and have a page that says so."""
    try:
        return "does not include" not in httpx.get(url, timeout=2, follow_redirects=True).text
    except httpx.HTTPError:
        return True


def has_desktop() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def answers(url: str) -> bool:
    if url.startswith("file:"):
        return True
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.HTTPError:
        return False
