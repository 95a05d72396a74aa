"""A whole deploy, with programs in Helm's and kubectl's place: what it does to a release, and how it goes back."""

import json
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.deploy import environment, records
from delivery.deploy.bake import RUNBOOK
from delivery.deploy.environment import Environment
from delivery.deploy.exits import Exit, Stopped
from delivery.deploy.pipeline import Pipeline
from delivery.deploy.smoke import Answer, Smoke
from delivery.deploy.summary import Summary
from tests.deploy.standin import Script, install
from toolkit.process import Failure
from toolkit.progress import Progress
from toolkit.reference import Image

OLD, NEW = (Image("registry.example.com/team/links", f"sha256:{letter * 64}") for letter in "ab")
ROUTE = {
    "enabled": True,
    "parentRefs": [{"name": "public", "sectionName": "https"}],
    "hostnames": ["links.example.com"],
}


@dataclass(frozen=True)
class Visit(Smoke):
    """Nothing serves at the public address: who would answer is what the cluster has."""

    def version(self) -> str:
        return ""

    def run(self, pods: Callable[[], set[str]], requests: Sequence[Mapping[str, Any]] = ()) -> Answer:
        assert pods(), requests
        return Answer()


class World:
    """One environment on that cluster."""

    def __init__(self, folder: Path, values: dict[str, Any], settings: dict[str, Any]) -> None:
        self.cluster = install(folder)
        (folder / "own.yaml").write_text(yaml.safe_dump(values))
        self.values = values
        prometheus = {"namespace": "monitoring", "service": "prometheus", "port": 9090}
        base = {"namespace": "links", "release": "links", "values": ["own.yaml"], "url": "https://links.example.com"}
        named = {"test": {**base, "prometheus": prometheus, "bake": {"every": 1}, **settings}}
        (folder / "deploy.yaml").write_text(yaml.safe_dump(named))
        self.environment: Environment = environment.load("test", folder / "deploy.yaml")
        self.pipeline = self.fresh()

    def fresh(self) -> Pipeline:
        pipeline = Pipeline(self.environment, Summary("deploy", "test"), Progress())
        pipeline.smoke = Visit(self.environment)
        self.pipeline = pipeline
        return pipeline

    def serves(self, **values: Any) -> None:
        """A release that somebody has made."""
        image = {"repository": OLD.repository, "digest": OLD.digest}
        self.cluster.release({**self.values, "image": image, **values}, "by hand")

    def deploy(self, bake: float = 0, image: Image = NEW) -> None:
        self.pipeline.deploy(image, bake=bake, wait=0)

    def stopped(self, bake: float = 0) -> Stopped:
        with pytest.raises(Stopped) as raised:
            self.deploy(bake)
        return raised.value

    @property
    def steps(self) -> list[str]:
        return [each.name for each in self.pipeline.summary.steps]

    @property
    def said(self) -> str:
        return self.pipeline.summary.failure

    @property
    def present(self) -> dict[str, Any]:
        """The values of the last revision."""
        found: dict[str, Any] = self.cluster.revisions[-1]["values"]
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """The revisions that the lock says went all the way."""
        found: list[dict[str, Any]] = json.loads(self.cluster.state["lease"]["metadata"]["annotations"][records.KEY])
        return found

    def upgrades(self) -> list[str]:
        return [each for each in self.cluster.calls if each.startswith("helm") and "--description=" in each]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    return lambda settings=None, **values: World(tmp_path, values, settings or {})


WORKERS = {"mail": {"args": ["work"]}, "report": {"args": ["work"]}}


class TestWorkload:
    """Workers, cron jobs and jobs beside the API."""

    def test_a_good_one(self, make: Callable[..., World]) -> None:
        jobs, cron = {"warm-up": {"args": ["warm-up"]}}, {"clean": {"args": ["clean"], "schedule": "0 3 * * *"}}
        world = make(workers=WORKERS, jobs=jobs, cronJobs=cron)
        world.serves()
        world.deploy()
        steps = {each.name: each.note for each in world.pipeline.summary.steps}
        waited = "3 pods, 1 pods of the worker mail, 1 pods of the worker report"
        assert steps["wait until only the new version serves"] == waited
        assert steps["look at the cron jobs"] == "links-clean"
        assert "migrate, upgrade and run the jobs" in steps
        # What runs when it serves needs a Helm that waits for that.
        assert "--wait=watcher" in world.upgrades()[-1]

    def test_what_is_not_there_is_not_asked_for(self, make: Callable[..., World]) -> None:
        world = make()
        world.serves()
        world.deploy()
        assert "look at the cron jobs" not in world.steps
        assert not any("cronjobs" in each for each in world.cluster.calls)
        assert "--wait=hookOnly" in world.upgrades()[-1]

    def test_a_worker_that_crashes(self, make: Callable[..., World]) -> None:
        world = make(workers=WORKERS)
        world.serves()
        world.cluster.play(Script(crashing_workers=[NEW.digest]))
        assert world.stopped().code == Exit.ROLLED_BACK
        assert "The rollout of the worker mail fails: the pod links-mail-" in world.said
        assert "crashes again and again (CrashLoopBackOff)" in world.said
        assert "  no such table" in world.said
        assert world.present["image"]["digest"] == OLD.digest

    def test_so_does_one_while_helm_waits_for_it(self, make: Callable[..., World]) -> None:
        world = make(workers=WORKERS, jobs={"warm-up": {"args": ["warm-up"]}})
        world.serves()
        world.cluster.play(Script(crashing_workers=[NEW.digest]))
        assert world.stopped().code == Exit.ROLLED_BACK
        assert "The rollout of the worker mail fails: the pod links-mail-" in world.said

    @pytest.mark.parametrize(
        ("when", "why"),
        [("after", "The job report fails.\n"), ("before", "The job report fails, and no pod was replaced.\n")],
    )
    def test_a_job_that_fails(self, make: Callable[..., World], when: str, why: str) -> None:
        world = make(jobs={"report": {"args": ["report"], "when": when}})
        world.serves()
        world.cluster.play(Script(job="report"))
        assert world.stopped().code == Exit.ROLLED_BACK
        assert world.said == f"{why}links-1 says:\n  no such table"

    def test_a_cron_job_that_would_run_something_else(self, make: Callable[..., World]) -> None:
        world = make(cronJobs={"clean": {"args": ["clean"], "schedule": "0 3 * * *"}})
        world.serves()
        world.cluster.play(Script(mutated=True))
        assert world.stopped().code == Exit.ROLLED_BACK
        assert world.said == (f"The cron job links-clean should run {NEW}, but in the cluster it is to run another.")

    def test_a_drain_that_takes_longer_than_the_rollout_may(self, make: Callable[..., World]) -> None:
        worker = {"args": ["work"], "strategy": "Recreate", "drainSeconds": 300}
        world = make(workers={"mail": worker})
        with pytest.raises(Failure, match=r"^The new pods of the worker mail wait up to 300 s for the old ones \(work"):
            world.deploy()
        world = make({"timeout": 301}, workers={"mail": worker})
        world.deploy()


def test_one_that_cannot_be_judged_serves_and_ends_with_a_code_of_its_own(make: Callable[..., World]) -> None:
    """Whether it serves well is not known: that is no reason to take it back, and no good end."""
    world = make()
    world.serves()
    world.cluster.play(Script(unjudged=[NEW.digest]))
    stopped = world.stopped(bake=1)
    assert stopped.code == Exit.UNPROVEN
    why = r"(\d+) of \1 requests have no status code in the label status"
    sentence = (
        f"The new version serves, and whether it serves well is not known: {why}[.] {RUNBOOK} says what to set[.]"
    )
    assert re.fullmatch(sentence, str(stopped))
    assert len(world.cluster.revisions) == 2
    assert world.present["image"]["digest"] == NEW.digest
    assert world.records == [{"revision": 2, "updated": "at 2", "image": str(NEW), "proven": False}]
    assert not world.pipeline.summary.proven


CANARY = {"canary": {"steps": [10, 50], "seconds": 1}}


class TestCanary:
    """Step by step, judged at each, and taken back from each."""

    def test_a_good_one(self, make: Callable[..., World]) -> None:
        world = make(CANARY, httpRoute=ROUTE, config={"A": "new"})
        world.serves(config={"A": "old"})
        world.deploy(bake=1)
        canaries = [each["values"].get("canary") for each in world.cluster.revisions[1:]]
        image = {"repository": NEW.repository, "tag": "", "digest": NEW.digest}
        on = {"enabled": True, "image": image, "config": {"A": "new"}}
        assert canaries == [
            {**on, "weight": 0, "replicas": 1},
            {**on, "weight": 10, "replicas": 2},
            {**on, "weight": 50, "replicas": 2},
            {**on, "weight": 50, "replicas": 2},
            None,
        ]
        digests = [each["values"]["image"]["digest"] for each in world.cluster.revisions]
        assert digests == [OLD.digest] * 4 + [NEW.digest] * 2
        # What serves keeps its configuration as long as it serves.
        assert [each["values"]["config"]["A"] for each in world.cluster.revisions] == ["old"] * 4 + ["new"] * 2
        # Migrations before the first request, and what runs after when it is the release.
        assert ["--no-hooks" in each for each in world.upgrades()] == [False, True, True, True, False]
        assert world.steps.count("migrate and upgrade") == 2
        notes = {each.name: each.note for each in world.pipeline.summary.steps}
        assert notes["watch the canary with 10 % of the requests"].endswith(" requests, 0 errors, 0 slow")
        assert world.pipeline.summary.proven

    def test_one_that_answers_with_errors(self, make: Callable[..., World]) -> None:
        world = make(CANARY, httpRoute=ROUTE)
        world.serves()
        world.cluster.play(Script(failing=[NEW.digest]))
        assert world.stopped(bake=1).code == Exit.ROLLED_BACK
        assert "answers of the new version were errors" in world.said
        assert "watch the canary with 50 % of the requests" not in world.steps
        *_, withdrawn, back = world.cluster.revisions
        assert withdrawn["values"]["canary"]["weight"] == 0
        assert withdrawn["values"]["image"]["digest"] == OLD.digest
        assert back["description"] == "Rollback to 1"
        assert "canary" not in world.present

    def test_one_that_crashes_never_gets_a_request(self, make: Callable[..., World]) -> None:
        world = make(CANARY, httpRoute=ROUTE)
        world.serves()
        world.cluster.play(Script(crashing=[NEW.digest]))
        assert world.stopped().code == Exit.ROLLED_BACK
        assert "The rollout of the canary fails: the pod links-canary-" in world.said
        weights = [each["values"].get("canary", {}).get("weight") for each in world.cluster.revisions]
        assert weights == [None, 0, None]

    def test_interrupted(self, make: Callable[..., World]) -> None:
        world = make(CANARY, httpRoute=ROUTE)
        world.serves()
        world.cluster.play(Script(signal=("canary with 50 %", signal.SIGTERM)))
        assert world.stopped(bake=1).code == Exit.TERMINATED
        assert world.said == "SIGTERM came."
        assert world.cluster.revisions[-2]["values"]["canary"]["weight"] == 0
        assert "canary" not in world.present
        assert world.present["image"]["digest"] == OLD.digest

    @pytest.mark.parametrize("command", ["deploy", "rollback"])
    def test_one_whose_deploy_was_killed_is_taken_back_by_the_next(
        self, make: Callable[..., World], command: str
    ) -> None:
        world = make(CANARY, httpRoute=ROUTE)
        world.serves()
        image = {"repository": NEW.repository, "digest": NEW.digest}
        canary = {"enabled": True, "image": image, "config": {}, "weight": 50, "replicas": 2}
        world.cluster.release({**world.present, "canary": canary}, "delivery: canary with 50 % of x by me")
        if command == "deploy":
            world.deploy(image=OLD)
        else:
            world.pipeline.rollback(None, wait=0)
        withdrawn, back = world.cluster.revisions[2:4]
        assert withdrawn["values"]["canary"]["weight"] == 0
        assert back["description"] == "Rollback to 1"
        assert "canary" not in world.present
        assert world.present["image"]["digest"] == OLD.digest

    def test_none_where_nothing_differs_or_nothing_serves(self, make: Callable[..., World]) -> None:
        world = make(CANARY, httpRoute=ROUTE)
        world.deploy()  # the first
        assert len(world.cluster.revisions) == 1
        world.fresh()
        world.deploy()
        assert len(world.cluster.revisions) == 2
        assert not any("canary" in each["values"] for each in world.cluster.revisions)

    def test_refused_without_a_route(self, make: Callable[..., World]) -> None:
        world = make(CANARY)
        with pytest.raises(Failure, match=r"^The environment test has a `canary`, which needs the weights of an HTTPR"):
            world.deploy()
        world = make(CANARY, httpRoute=ROUTE)
        world.serves(httpRoute={"enabled": False})
        with pytest.raises(Failure, match=r"^The release that serves has no HTTPRoute, and a canary needs one to sha"):
            world.deploy()
        assert len(world.cluster.revisions) == 1
