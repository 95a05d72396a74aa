"""Releases, good and bad, brought to a cluster by the commands a pipeline runs, under 100 requests a second.

Each scenario brings about where it begins, by a fixture: `gone`, `prepared` or `deployed`. In the order of the file all
is mostly there already.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from k8s import up
from offline.image_build import Built, build_image
from tests.e2e.cluster import wait_for
from tests.e2e.delivery.variants import NEXT, PRESENT, VARIANTS, copy_source
from tests.e2e.delivery.world import HOST, NAMESPACE, RELEASE, Run, World
from tests.e2e.load import Load, assert_lost_nothing, note, under
from tests.e2e.machine import slowness
from tests.e2e.prometheus import query
from tests.e2e.release import ready_pods
from toolkit.process import output, succeeds

pytestmark = pytest.mark.timeout(600)
FEWEST = 2  # pods, by delivery/values.yaml
SECONDS = 60  # from the command to traffic on the new version, at full speed


@pytest.fixture(scope="module")
def variants(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Built]:
    def build(variant: str) -> Built:
        context = tmp_path_factory.mktemp(variant)
        copy_source(context)
        VARIANTS[variant](context)
        return build_image(stack.registry, context, name=f"delivery-{variant.replace('_', '-')}")

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(VARIANTS, pool.map(build, VARIANTS), strict=True))


@pytest.fixture(scope="module")
def world(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(stack, tmp_path_factory.mktemp("delivery"))
    world.remove()  # of a run that was ended
    world.write_environments()
    yield world
    world.remove()


@pytest.fixture
def gone(world: World) -> None:
    """A cluster that nobody has prepared for the release."""
    world.be_gone()


@pytest.fixture
def prepared(world: World) -> None:
    """Where the first deploy comes to."""
    world.be_prepared()


@pytest.fixture
def deployed(world: World, stack: up.Stack, token: str) -> None:
    """The present version serves, by all its pods."""
    world.be_deployed(stack.image, token)
    wait_for("the fewest pods", lambda: len(uids(world)) >= FEWEST, seconds=60)


@dataclass
class Watched:
    """What a scenario has met."""

    load: Load
    ready: list[int] = field(default_factory=list)


@contextmanager
def watched(world: World) -> Iterator[Watched]:
    """Under load, with every number of ready pods that there was."""
    with ready_pods(world.stack, NAMESPACE, RELEASE) as ready, under(world.load(world.page)) as load:
        yield Watched(load, ready)


def uids(world: World) -> set[str]:
    pods = world.objects("pods", "--selector=app.kubernetes.io/component=app")
    return {each["metadata"]["uid"] for each in pods if "deletionTimestamp" not in each["metadata"]}


def assert_taken_back(world: World, run: Run, seen: Watched, image: Built) -> None:
    """By itself, wholly, with no pod fewer than wanted and every answer that the version before has to give."""
    assert run.process.returncode == 3, run.said
    assert run.summary["exit"] == 3
    assert world.versions() == {PRESENT}
    assert min(seen.ready) >= FEWEST, seen.ready
    last = world.history()[-1]
    assert (last["status"], last["description"][:8]) == ("deployed", "Rollback")
    assert not world.objects("configmaps", "--selector=app.kubernetes.io/component=test"), "left by helm test"
    # What the ingress or a connection had to say would be none of the bad version's own answers.
    assert {reason for _, reason in seen.load.result.failures} <= {"status 500 of the service"}
    bad = {
        each["metadata"]["name"]
        for each in world.objects("replicasets")
        if each["spec"]["template"]["spec"]["containers"][0]["image"].endswith(image.digest)
    }
    names = "|".join(f"{name}-.*" for name in bad) or "none"
    errors = f'http_request_duration_seconds_count{{namespace="{NAMESPACE}",status=~"5..",pod!~"{names}"}}'
    assert query(world.stack, f"{errors} > 0") == [], "the version before has answered with errors"


@pytest.mark.usefixtures("gone")
def test_what_is_wrong_is_said_before_anything_is_changed(
    world: World, stack: up.Stack, delivered: Callable[..., None]
) -> None:
    image = f"{stack.image.repository}:latest"
    tag = world.do("deploy", IMAGE=image)
    assert (tag.process.returncode, "a tag can be moved" in tag.said) == (1, True), tag.said
    without = world.do("deploy", stack.image)
    assert without.process.returncode == 1, without.said
    assert "There is no Secret delivery-secrets, no Secret delivery-tls in the namespace delivery" in without.said
    showing = world.do("diff", stack.image)
    assert showing.process.returncode == 1, showing.said
    assert not succeeds([*stack.cluster.kubectl, "get", "namespace", NAMESPACE])
    delivered("refused before anything is changed: a tag, a missing Secret")


@pytest.mark.nightly
@pytest.mark.usefixtures("prepared")
def test_first_deploy_of_a_bad_image_leaves_nothing(
    world: World, variants: dict[str, Built], delivered: Callable[..., None]
) -> None:
    run = world.do("deploy", variants["crashing"])
    assert run.process.returncode == 3, run.said
    assert "broken on purpose" in run.said
    assert (
        world.objects("deployments,services,ingresses,configmaps", f"--selector=app.kubernetes.io/instance={RELEASE}")
        == []
    )
    assert world.holder() is None
    delivered("first deploy, of a crashing image: removed again", seconds=run.seconds)


@pytest.mark.usefixtures("prepared")
def test_first_deploy(world: World, stack: up.Stack, delivered: Callable[..., None]) -> None:
    showing = world.do("diff", stack.image)
    assert showing.process.returncode == 10, showing.said
    assert "+ Deployment delivery" in showing.said
    assert "runs first: Job delivery-migrations" in showing.said
    assert world.objects("deployments") == []
    run = world.do("deploy", stack.image, BAKE="5")
    assert run.process.returncode == 0, run.said
    assert "proves nothing" in run.summary["baked"]
    assert world.versions() == {PRESENT}
    again = world.do("diff", stack.image)
    assert (again.process.returncode, "Nothing would change." in again.said) == (0, True), again.said
    delivered("first deploy onto an empty namespace", seconds=run.seconds)


@pytest.mark.usefixtures("deployed")
def test_good_upgrade_while_others_want_to_deploy_and_back(
    world: World, stack: up.Stack, variants: dict[str, Built], delivered: Callable[..., None]
) -> None:
    """Of two deploys at once the second is refused, and a rollback that may wait does so."""
    revision = world.history()[-1]["revision"]
    allowed = SECONDS * slowness()
    with watched(world) as seen:
        first = world.start("deploy", variants["next_version"])
        # While it watches, so that the others take nothing of the time that it needs to get there.
        wait_for("the new version alone", lambda: world.versions() == {NEXT}, seconds=4 * SECONDS, every=1)
        second = world.do("deploy", variants["slow"])
        assert second.process.returncode == 4, second.said
        assert "Another deploy is at work: " in second.said
        third = world.start("rollback", WAIT="200")
        assert first.process.poll() is None
        assert first.end() == 0, first.said
        assert world.history()[-1]["revision"] == first.summary["after"]["revision"] == revision + 1
        assert first.summary["after"]["version"] == NEXT
        back = third.end()
    assert (back, third.summary["after"]["version"]) == (0, PRESENT), third.said
    assert "Another deploy is at work: " in third.said
    assert world.versions() == {PRESENT}
    assert_lost_nothing(seen.load)
    assert min(seen.ready) >= FEWEST, seen.ready
    assert first.summary["proven"], first.said
    served = first.summary["served_after"]
    delivered("good upgrade", seen.load.result, seconds=first.seconds, note=note(seen.load))
    delivered("from make deploy to traffic on the new version alone", seconds=served, note=f"{allowed:.0f} s allowed")
    delivered("of two deploys at once the second is refused", seconds=second.seconds, note="exit 4")
    delivered("make rollback, which waited for the deploy", seen.load.result, seconds=third.seconds)
    assert served < allowed


@pytest.mark.usefixtures("deployed")
def test_failing_migration(world: World, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    before = uids(world)
    with watched(world) as seen:
        run = world.do("deploy", variants["migration"])
    assert_taken_back(world, run, seen, variants["migration"])
    assert 'relation "no_such_table" does not exist' in run.said
    assert before <= uids(world), "a working pod was taken down"
    assert_lost_nothing(seen.load)
    delivered(
        "upgrade with a failing migration, rolled back", seen.load.result, seconds=run.seconds, note=note(seen.load)
    )


@pytest.mark.nightly
@pytest.mark.usefixtures("deployed")
def test_crashing_image(world: World, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    before = uids(world)
    with watched(world) as seen:
        run = world.do("deploy", variants["crashing"])
    assert_taken_back(world, run, seen, variants["crashing"])
    assert "CrashLoopBackOff" in run.said
    assert "broken on purpose" in run.said
    assert before <= uids(world), "a working pod was taken down"
    assert_lost_nothing(seen.load)
    delivered("upgrade to a crashing image, rolled back", seen.load.result, seconds=run.seconds, note=note(seen.load))


@pytest.mark.usefixtures("deployed")
def test_image_that_answers_500_to_one_request_in_five(
    world: World, variants: dict[str, Built], delivered: Callable[..., None]
) -> None:
    with watched(world) as seen:
        run = world.do("deploy", variants["failing"])
    assert_taken_back(world, run, seen, variants["failing"])
    assert "answers of the new version were errors" in run.said
    assert seen.load.result.failed > 0
    told = f"{seen.load.result.failed} answers of the bad version itself; no other failed"
    delivered(
        "upgrade to an image that answers 500 to one in five, rolled back",
        seen.load.result,
        seconds=run.seconds,
        note=told,
    )


@pytest.mark.nightly
@pytest.mark.usefixtures("deployed")
def test_image_that_is_ready_but_slow(world: World, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    with watched(world) as seen:
        run = world.do("deploy", variants["slow"])
    assert_taken_back(world, run, seen, variants["slow"])
    assert "slower than 0.5 s" in run.said
    assert_lost_nothing(seen.load)
    delivered("upgrade to a slow image, rolled back", seen.load.result, seconds=run.seconds, note=note(seen.load))


@pytest.mark.nightly
@pytest.mark.usefixtures("deployed")
def test_worker_or_job_that_fails(world: World, stack: up.Stack, delivered: Callable[..., None]) -> None:
    """Beside an API that is as good as before."""
    idle = {"command": ["python3", "-c", "import time; time.sleep(3600)"], "drainSeconds": 1}
    report = {"args": ["metrics"], "backoffLimit": 0}
    nightly = {"args": ["metrics"], "schedule": "0 3 * * *"}
    broken = {"args": ["no-such-command"], "backoffLimit": 0}
    with adapted(world, workers={"idle": idle}, jobs={"report": report}, cronJobs={"nightly": nightly}):
        run = world.do("deploy", stack.image, BAKE="5")
        assert run.process.returncode == 0, run.said
        assert "runs last: Job delivery-report" in run.said
        assert "pods of the worker idle" in run.said
        assert "look at the cron jobs" in run.said
        delivered("a worker, a cron job and a job beside the API", seconds=run.seconds)
    worker = {name: value for name, value in broken.items() if name != "backoffLimit"}
    failures: tuple[tuple[dict[str, object], str, str], ...] = (
        ({"workers": {"idle": worker}}, "The rollout of the worker idle fails: the pod delivery-idle-", "worker"),
        ({"jobs": {"report": broken}}, "The job report fails", "job"),
    )
    for values, why, name in failures:
        with adapted(world, None, **values):
            run = world.do("deploy", stack.image)
        assert run.process.returncode == 3, run.said
        assert why in run.said
        assert world.versions() == {PRESENT}
        delivered(f"a {name} that fails: rolled back", seconds=run.seconds)


@contextmanager
def adapted(world: World, canary: Mapping[str, object] | None = None, **values: object) -> Iterator[None]:
    """With these values, and this canary, in its environment."""
    changes = {"canary": dict(canary)} if canary else {}
    world.write_environments(set={"config": {"APP_PUBLIC_URL": world.url}, **values}, **changes)
    try:
        yield
    finally:
        world.write_environments()


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("deployed")
def test_canary(world: World, stack: up.Stack, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    """By the Gateway's weights: a bad one is met by few, a good one by all, and of a killed one nothing is left."""
    route = {
        "enabled": True,
        "parentRefs": [{"name": "traefik", "namespace": "ingress", "sectionName": "https"}],
        "hostnames": [HOST],
    }
    routed = {"httpRoute": route, "ingress": {"enabled": False}}
    steps = {"steps": [10, 50], "seconds": 20}

    def canaries() -> list[str]:
        names = [each["metadata"]["name"] for each in world.objects("deployments")]
        return [name for name in names if name.endswith("-canary")]

    with adapted(world, None, **routed):
        run = world.do("deploy", stack.image, BAKE="5")
        assert run.process.returncode == 0, run.said
    before = uids(world)
    with adapted(world, steps, **routed):
        with watched(world) as seen:
            run = world.do("deploy", variants["failing"])
        assert run.process.returncode == 3, run.said
        assert "answers of the new version were errors" in run.said
        assert "watch the canary with 50 % of the requests" not in run.said
        assert world.versions() == {PRESENT}
        assert min(seen.ready) >= FEWEST, seen.ready
        assert {reason for _, reason in seen.load.result.failures} <= {"status 500 of the service"}
        assert before <= uids(world), "a working pod was taken down"
        assert canaries() == []
        # One answer in five of one request in ten.
        assert 0 < seen.load.result.failed < seen.load.result.sent / 20
        told = f"{seen.load.result.failed} answers of the bad version itself; no other failed"
        delivered("a bad canary, taken back", seen.load.result, seconds=run.seconds, note=told)

        with watched(world) as seen:
            good = world.start("deploy", variants["next_version"], BAKE="5")
            wait_for("both versions", lambda: world.versions() == {PRESENT, NEXT}, seconds=4 * SECONDS, every=1)
            assert good.end() == 0, good.said
        assert world.versions() == {NEXT}
        assert canaries() == []
        assert_lost_nothing(seen.load)
        assert min(seen.ready) >= FEWEST, seen.ready
        delivered("a good canary, to all requests", seen.load.result, seconds=good.seconds, note=note(seen.load))

        with watched(world) as seen:
            killed = world.start("deploy", stack.image)
            wait_for("both versions", lambda: world.versions() == {PRESENT, NEXT}, seconds=4 * SECONDS, every=1)
            killed.process.kill()
            killed.end()
            back = world.do("rollback", WAIT="120")
        assert back.process.returncode == 0, back.said
        assert "it had a canary, which is taken back" in back.said
        assert world.versions() == {NEXT}
        assert canaries() == []
        assert_lost_nothing(seen.load)
        delivered("a canary whose deploy was killed, taken back by the next", seen.load.result, seconds=back.seconds)


@pytest.mark.nightly
@pytest.mark.usefixtures("deployed")
def test_sigterm_in_the_middle(world: World, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    image = variants["next_version"]

    def rolling() -> bool:
        pods = world.objects("pods", "--selector=app.kubernetes.io/component=app")
        return any(each["spec"]["containers"][0]["image"].endswith(image.digest) for each in pods)

    with watched(world) as seen:
        run = world.start("deploy", image)
        wait_for("a pod of the new version", rolling, seconds=60, every=0.2)
        run.terminate()
        assert run.end() == 143, run.said
    assert "SIGTERM came." in run.said
    assert world.versions() == {PRESENT}
    assert world.holder() is None
    assert_lost_nothing(seen.load)
    assert min(seen.ready) >= FEWEST, seen.ready
    delivered(
        "SIGTERM in the middle of an upgrade: rolled back", seen.load.result, seconds=run.seconds, note=note(seen.load)
    )


@pytest.mark.usefixtures("deployed")
def test_drift_is_shown_and_a_dry_run_changes_nothing(
    world: World, stack: up.Stack, delivered: Callable[..., None]
) -> None:
    usual = sample_ratio(world)
    set_by_hand(world, "0.9")
    try:
        before = world.history()
        showing = world.do("diff", stack.image)
        assert showing.process.returncode == 10, showing.said
        assert "~ ConfigMap delivery   (changed by hand since the last release)" in showing.said
        assert '-  APP_TRACE_SAMPLE_RATIO: "0.9"' in showing.said
        dry = world.do("deploy", stack.image, DRY_RUN="1")
        assert dry.process.returncode == 0, dry.said
        assert world.history() == before
        assert sample_ratio(world) == "0.9"
    finally:
        set_by_hand(world, usual)
    delivered("drift is shown by diff, and a dry run changes nothing")


def sample_ratio(world: World) -> str:
    (config,) = world.objects("configmaps", f"--selector=app.kubernetes.io/instance={RELEASE}")
    found: str = config["data"]["APP_TRACE_SAMPLE_RATIO"]
    return found


def set_by_hand(world: World, ratio: str) -> None:
    data = json.dumps({"data": {"APP_TRACE_SAMPLE_RATIO": ratio}})
    output([*world.kubectl, "patch", "configmap", RELEASE, "--type=merge", "--patch", data])


@pytest.mark.nightly
@pytest.mark.usefixtures("deployed")
def test_the_way_back_fails_too(world: World, variants: dict[str, Built], delivered: Callable[..., None]) -> None:
    """Somebody has removed what Helm knows of earlier revisions: nobody but a person can help, and is told."""

    def upgraded() -> bool:
        last = world.history()[-1]
        return bool(last["revision"] > before and last["status"] == "deployed")

    before = world.history()[-1]["revision"]
    pods = uids(world)
    run = world.start("deploy", variants["crashing"])
    wait_for("the upgrade, whose pods will crash", upgraded, seconds=60, every=0.2)
    earlier = [f"secret/sh.helm.release.v1.{RELEASE}.v{each['revision']}" for each in world.history()[:-1]]
    output([*world.kubectl, "delete", *earlier])
    assert run.end() == 5, run.said
    assert run.summary["exit"] == 5
    assert "a person is needed" in run.said
    assert f"helm --kube-context {world.stack.cluster.context} --namespace {NAMESPACE} history {RELEASE}" in run.said
    assert pods <= uids(world), "a working pod was taken down"
    assert world.versions() == {PRESENT}
    assert world.holder() is None
    delivered("the way back fails, too: a person is told what to run", seconds=run.seconds, note="exit 5")
