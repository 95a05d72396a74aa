"""What is decided about a Lease; how two deploys meet on a real one is in tests/e2e/test_delivery.py."""

import datetime as dt
import os

import pytest

from delivery.deploy.lock import SECONDS, expired, holder, me, parse, said, taken

NOW = dt.datetime(2026, 11, 23, 12, 0, 0, tzinfo=dt.UTC)


def lease(seconds_ago: float, who: str | None = "ci") -> dict[str, object]:
    stamp = (NOW - dt.timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"leaseDurationSeconds": SECONDS, "renewTime": stamp, "acquireTime": stamp, "leaseTransitions": 4}
    return {
        "metadata": {
            "name": "links-deploy",
            "uid": "1",
            "resourceVersion": "7",
            "annotations": {"delivery/good": "[]"},
        },
        "spec": {**spec, **({"holderIdentity": who} if who else {})},
    }


def test_who_holds_it() -> None:
    assert holder(lease(0)) == "ci"
    assert holder(lease(0, None)) is None
    assert holder(None) is None


@pytest.mark.parametrize(("ago", "over"), [(0, False), (SECONDS - 1, False), (SECONDS + 1, True), (-30, False)])
def test_it_runs_out(ago: float, over: bool) -> None:
    assert expired(lease(ago), NOW) is over


def test_one_that_was_never_renewed_has_run_out() -> None:
    assert expired({"spec": {"holderIdentity": "somebody"}}, NOW)


def test_who_is_at_work_since_when() -> None:
    assert said(lease(60)) == "Another deploy is at work: ci has held the lock since 2026-11-23 11:59:00 UTC."


def test_taking_it_keeps_what_is_noted_there_and_only_works_if_nobody_was_faster() -> None:
    found = taken(lease(100), "links-deploy", "me", NOW)
    assert found["metadata"] == {
        "name": "links-deploy",
        "annotations": {"delivery/good": "[]"},
        "resourceVersion": "7",
    }
    assert found["spec"]["holderIdentity"] == "me"
    assert found["spec"]["leaseTransitions"] == 5
    assert parse(found["spec"]["renewTime"]) == NOW


def test_the_first_one() -> None:
    found = taken(None, "links-deploy", "me", NOW)
    assert found["metadata"] == {"name": "links-deploy"}
    assert found["spec"]["leaseTransitions"] == 0


def test_a_pipeline_is_known_by_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)
    assert me().endswith(f"-{os.getpid()}")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://git.example.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/links")
    monkeypatch.setenv("GITHUB_RUN_ID", "42")
    assert me() == "https://git.example.com/team/links/actions/runs/42/attempts/1"
