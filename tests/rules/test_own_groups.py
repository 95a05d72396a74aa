"""Groups of rules that come by values: what the chart refuses Prometheus refuses, too, and what is good both take."""

from pathlib import Path
from typing import Any

import pytest

from tests.chart.helm import refusal
from tests.rules.programs import run
from tests.rules.rendered import groups, write

Group = dict[str, Any]
EXPRESSION = 'absent(up{job="links"} == 1)'


def alert(**keys: Any) -> Group:
    return {"name": "own", "rules": [{"alert": "Down", "expr": EXPRESSION, **keys}]}


def record(**keys: Any) -> Group:
    return {"name": "own", "rules": [{"record": "a:b", "expr": EXPRESSION, **keys}]}


RULE = "prometheusRule.groups[0].rules[0]"
NO_DURATION = "is no duration: write numbers with y, w, d, h, m, s or ms in this order, such as 5m or 1h30m"
NO_LABEL = "which is no name of a label: write letters, digits and _ alone, and no digit first"
BRACKET = "without the other half of it: close each bracket that is opened, and no other"
OPEN = "has a quote that is not closed: write the same one at the end of the string"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (alert(record="a:b"), f"{RULE} has both alert and record: write two rules"),
        (alert(alert=""), f"{RULE} has neither alert nor record: name the one or the other"),
        (alert(expr=""), f"{RULE}.expr is empty: write a query"),
        (alert(expr=" # nothing\n # at all"), f"{RULE}.expr is empty: write a query"),
        ({"name": "own", "rules": [{"alert": "A"}]}, f"{RULE}.expr is empty: write a query"),
        (alert(expr="sum(up"), f"{RULE}.expr has a ( {BRACKET}"),
        (alert(expr="sum(rate(up[5m))"), f"{RULE}.expr has a ( {BRACKET}"),
        (alert(expr="up) > (1"), f"{RULE}.expr has a ) {BRACKET}"),
        (alert(expr='up{a="b"'), f"{RULE}.expr has a {{ {BRACKET}"),
        (alert(expr='up{a="b}'), f"{RULE}.expr {OPEN}"),
        (alert(expr="up{a='b\\'}"), f"{RULE}.expr {OPEN}"),
        (alert(expr="up{a=`b}"), f"{RULE}.expr {OPEN}"),
        (alert(**{"for": "5 m"}), f'{RULE}.for "5 m" {NO_DURATION}'),
        (alert(**{"for": ""}), f'{RULE}.for "" {NO_DURATION}'),
        (alert(keep_firing_for="1m1h"), f'{RULE}.keep_firing_for "1m1h" {NO_DURATION}'),
        ({**alert(), "interval": "30"}, f'prometheusRule.groups[0].interval "30" {NO_DURATION}'),
        ({**alert(), "query_offset": "-1m"}, f'prometheusRule.groups[0].query_offset "-1m" {NO_DURATION}'),
        (record(**{"for": "5m"}), f"{RULE} has for beside record, and only an alert has that: leave it out"),
        (
            record(annotations={"a": "b"}),
            f"{RULE} has annotations beside record, and only an alert has that: leave it out",
        ),
        (
            record(record="a{b}"),
            f'{RULE}.record "a{{b}}" is no name of a metric: write letters, digits, _ and : alone, and no digit first',
        ),
        (alert(labels={"__name__": "a"}), f'{RULE}.labels has "__name__", {NO_LABEL}'),
        (alert(labels={"": "a"}), f'{RULE}.labels has "", {NO_LABEL}'),
        (alert(annotations={"": "b"}), f'{RULE}.annotations has "", {NO_LABEL}'),
        ({**alert(), "labels": {"__name__": "b"}}, f'prometheusRule.groups[0].labels has "__name__", {NO_LABEL}'),
        (
            alert(annotations={"summary": "{{ $value }} of {{ $labels.job }"}),
            f"{RULE}.annotations.summary has a template that is not closed: write }}}} after each {{{{",
        ),
        (
            alert(labels={"team": "{{"}),
            f"{RULE}.labels.team has a template that is not closed: write }}}} after each {{{{",
        ),
        (
            {**alert(), "name": "links-slo"},
            'prometheusRule.groups[0].name "links-slo" is another group\'s already: give it another',
        ),
        ({**alert(), "rulez": []}, "at '/prometheusRule/groups/0': additional properties 'rulez' not allowed"),
        (alert(fro="5m"), "at '/prometheusRule/groups/0/rules/0': additional properties 'fro' not allowed"),
        ({**alert(), "name": ""}, "at '/prometheusRule/groups/0/name': minLength: got 0, want 1"),
    ],
)
def test_what_prometheus_refuses_is_explained(given: Group, message: str, tmp_path: Path) -> None:
    values = {"nameOverride": "links", "prometheusRule": {"enabled": True, "groups": [given]}}
    assert refusal(values, release="links") == [message]
    done = run("promtool", "check", "rules", write([*groups(), given], tmp_path))
    assert done.returncode != 0, "the chart refuses what Prometheus takes"


def test_two_groups_of_one_name() -> None:
    values = {"prometheusRule": {"enabled": True, "groups": [alert(), record()]}}
    assert refusal(values) == ['prometheusRule.groups[1].name "own" is another group\'s already: give it another']


def test_a_rule_that_is_there_twice() -> None:
    """Prometheus takes it, and one of the two is lost."""
    twice = {"name": "own", "rules": alert()["rules"] * 2}
    assert refusal({"prometheusRule": {"enabled": True, "groups": [twice]}}) == [
        "prometheusRule.groups[0].rules[1] is the same as prometheusRule.groups[0].rules[0]: leave one out"
    ]


@pytest.mark.parametrize("name", ["a.b", "1a", "a-b"])
def test_names_that_only_newer_versions_take(name: str) -> None:
    values = {"prometheusRule": {"enabled": True, "groups": [alert(labels={name: "b"})]}}
    assert refusal(values) == [f'{RULE}.labels has "{name}", {NO_LABEL}']


def test_all_mistakes_are_told_at_once() -> None:
    values = {"prometheusRule": {"enabled": True, "groups": [alert(expr="up(", **{"for": "x"})]}}
    assert refusal(values) == [f'{RULE}.for "x" {NO_DURATION}', f"{RULE}.expr has a ( {BRACKET}"]


GOOD: list[Group] = [
    {
        "name": "expressions",
        "interval": "1m30s",
        "query_offset": "0s",
        "limit": 10,
        "labels": {"team": "links"},
        "rules": [
            {"record": "a:b", "expr": expression}
            for expression in (
                "1",
                1,
                'up{a="("} # ) it\'s',
                "up{a='\\'{'}",
                "up{a=`\\`}",
                "# (\nup{}",
                'sum by (a) (rate(up{a=~"[(]b"}[5m:1m] offset 1h)) > bool (1)',
                '{__name__="up"}',
            )
        ],
    },
    {
        "name": "alerts",
        "rules": [
            alert(**{"for": "0"})["rules"][0],
            alert(**{"for": "1h30m", "keep_firing_for": "5m"}, labels={"severity": "info"})["rules"][0],
            alert(
                labels={"severity": "warning"},
                annotations={"a": "{{ $value }}} {{ if true }}a{{ end }} }}", "b": '{{ "{{" }}', "c": "{ } {x"},
            )["rules"][0],
        ],
    },
    {"name": "empty"},
]


def test_what_is_good_both_take(tmp_path: Path) -> None:
    found = groups({"groups": GOOD})
    assert [each["name"] for each in found[2:]] == ["expressions", "alerts", "empty"]
    done = run("promtool", "check", "rules", write(found, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
