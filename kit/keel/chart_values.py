"""Prints the chart's values that the domains bring: dashboards, and the requests of `helm test`."""

import json
from collections.abc import Iterator, Sequence
from textwrap import indent

from keel.domain import Domain
from keel.operations import SmokeRequest

INTRODUCTION = """\
# What the service's domains bring to the chart: written by `python -m {package} values`, so do not edit it.
# yamllint disable rule:line-length"""
# Every service has this route: it says which version answers.
IDENTITY = SmokeRequest(name="route", path="/")


class OperationsError(Exception):
    """Two domains bring something of the same name, or a file is not there; the message says which."""


def chart_values(package: str, domains: Sequence[Domain]) -> str:
    """The values as YAML.

    Raises:
        OperationsError: they cannot be one service's.
    """
    lines = [INTRODUCTION.format(package=package), *_dashboards(domains), *_requests(domains)]
    return "\n".join(lines)


def _dashboards(domains: Sequence[Domain]) -> Iterator[str]:
    known: set[str] = set()
    for domain in domains:
        for name, file in domain.operations.dashboards.items():
            if not known:
                yield "dashboards:\n  extra:"
            _once(known, name, "dashboard")
            try:
                text = file.read_text(encoding="utf-8")
            except OSError as error:
                raise OperationsError(f"The dashboard {name} of {domain.name} cannot be read: {error}") from error
            yield f"    {name}: |-\n{indent(text.rstrip(), ' ' * 6)}"


def _requests(domains: Sequence[Domain]) -> Iterator[str]:
    known: set[str] = set()
    yield "# They are sent by `helm test`, and by a deploy over the public address.\ntests:\n  requests:"
    for each in [IDENTITY, *(request for domain in domains for request in domain.operations.requests)]:
        _once(known, each.name, "request")
        yield f"    - name: {json.dumps(each.name)}\n      path: {json.dumps(each.path)}\n      status: {each.status}"
        if each.content_type:
            yield f"      contentType: {json.dumps(each.content_type)}"


def _once(known: set[str], name: str, what: str) -> None:
    if name in known:
        raise OperationsError(f"Two domains bring a {what} {name}: rename one.")
    known.add(name)
