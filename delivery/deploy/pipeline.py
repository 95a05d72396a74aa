"""The steps of a deploy, one after the other, and the one way back from every one of them."""

import json
import re
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import yaml
from rich.markup import escape

from delivery import signing
from delivery.deploy import canary, changes, checks, records, signals, values
from delivery.deploy.access import AS_IT_IS, Access
from delivery.deploy.bake import RUNBOOK, Bake, Limits
from delivery.deploy.changes import Changes
from delivery.deploy.environment import Environment
from delivery.deploy.exits import Exit, Stopped
from delivery.deploy.lock import DeployLease
from delivery.deploy.prometheus import Prometheus
from delivery.deploy.release import LiveRelease, not_made
from delivery.deploy.rollout import Pod, Rollout, State
from delivery.deploy.signals import Interrupted
from delivery.deploy.smoke import Smoke
from delivery.deploy.summary import Step, Summary, Version
from k8s.release import GOOD, Revision
from toolkit import namespace
from toolkit.paths import CHART
from toolkit.process import CommandFailed, Failure, output
from toolkit.progress import Progress
from toolkit.progress import Step as Shown
from toolkit.reference import Image

# Before the release's objects are applied, or after: of an upgrade, and of a first install (Helm's pkg/action).
HOOK_FAILED = re.compile("(pre|post)-upgrade hooks failed|failed (pre|post)-install")
INTERRUPTED = {2: Exit.INTERRUPTED, 15: Exit.TERMINATED}


class Pipeline:
    """One run against one environment. `summary` is filled in as it goes on."""

    def __init__(self, environment: Environment, summary: Summary, progress: Progress) -> None:
        self.environment = environment
        self.summary = summary
        self.progress = progress
        self.started = time.monotonic()
        self.access = Access(environment.context, environment.namespace)
        log = f"deploy-{environment.name}"
        self.release = LiveRelease(self.access.helm, environment.release, log, environment.timeout)
        self.rollout = Rollout(self.access, environment.release, environment.timeout)
        self.smoke = Smoke(environment)
        self.lock = DeployLease(self.access, environment.release)
        self._told: dict[str, str] = {}
        self._in_flight = False  # whether a canary may get requests
        summary.who = self.lock.who
        summary.links = self._links()

    # --- the commands

    def diff(self, image: Image) -> Changes:
        """What a deploy would change. Changes nothing."""
        with self._values(image) as files:
            self._check(image, files, changing=False, bake=False)
            history = self.release.history()
            if history and history[-1]["status"].startswith("pending"):
                raise Failure(
                    f"The release is {history[-1]['status']}, and Helm renders nothing for it: a deploy is at work or "
                    "was interrupted. Ask again when it has ended; the next deploy takes an interrupted one back."
                )
            return self._find(files)

    def deploy(self, image: Image, *, bake: float, wait: float) -> None:
        """Raises Stopped for every end but the good one, and Failure where nothing was begun."""
        with self._values(image) as files, signals.heeded(self._loud), self._interrupted():
            merged = self._check(image, files, changing=True, bake=bake > 0)
            with self._locked(wait):
                self._deploy(image, files, merged, bake)

    def rollback(self, revision: int | None, *, wait: float) -> None:
        """To the last good revision before the present one, or to the one that is named."""
        with signals.heeded(self._loud), self._interrupted():
            with self._step("check the cluster and the rights there"):
                self.access.server()
                checks.rights(self.access, self.environment, changing=True)
            with self._locked(wait):
                self._rollback(revision)

    # --- before anything is changed

    def _check(self, image: Image, files: list[Path], *, changing: bool, bake: bool) -> values.Values:
        environment = self.environment
        with self._step("check values, cluster and rights") as step:
            checks.chart(environment, files)
            merged = values.load(environment.values, _overrides(environment, image))
            checks.canary(environment, merged)
            checks.drains(environment, merged)
            step.detail = self.access.server()
            cron_jobs = bool(values.enabled(merged, "cronJobs"))
            checks.rights(self.access, environment, changing=changing, cron_jobs=cron_jobs)
            checks.secrets(self.access, environment, merged)
            if bake and environment.prometheus:
                Prometheus(self.access, environment.prometheus).require()
        if environment.signature:
            who = environment.signature
            policy = signing.Policy(who.key, who.identity or "", who.issuer or "")
            with self._step("verify the image's signature") as step:
                step.detail = str(policy)
                signing.verify(str(image), policy)
        return merged

    def _find(self, files: list[Path]) -> Changes:
        with self._step("compare with the live cluster") as step:
            found = changes.find(self.access, self.release, self.release.rendered(CHART, files))
            step.detail = self.summary.changes = found.spelled()
        return found

    @contextmanager
    def _values(self, image: Image) -> Iterator[list[Path]]:
        """The files of values, the last of them with what this deploy sets."""
        with tempfile.TemporaryDirectory() as folder:
            own = Path(folder) / "deploy.yaml"
            own.write_text(yaml.safe_dump(_overrides(self.environment, image)), encoding="utf-8")
            yield [*self.environment.values, own]

    @contextmanager
    def _locked(self, wait: float) -> Iterator[None]:
        with ExitStack() as stack:
            with self._step("take the lock") as step:
                if not self._namespace_there():
                    self._make_namespace()
                    step.detail = f"made the namespace {self.access.namespace}"
                stack.enter_context(self.lock.held(wait, lambda line: self.progress.say(f"  {escape(line)}")))
            yield

    # --- the deploy

    def _deploy(self, image: Image, files: list[Path], merged: values.Values, seconds: float) -> None:
        history = self._mended()
        back = records.before(self._records(history), history, _next(history))
        older = self._present(history)
        found = self._find(files)
        for line in found.lines():
            self.progress.say(f"  [dim]{escape(line)}[/]")
        bake = self._bake(merged, {pod.name for each in older.all for pod in each.pods})
        plan = self._plan(image, merged, older)
        try:
            if plan:
                self._canary(plan, files, merged, bake, watched=bool(seconds))
            self._upgrade(image, files, values.jobs(merged), older, bake)
            self._in_flight = False
            with self._step("wait until only the new version serves", 40) as step:
                now = self.rollout.wait(lambda state: self._watch(state, bake, step))
                step.detail = _pods(now)
            self._cron_jobs(found.cron_jobs)
            self.summary.served_after = round(time.monotonic() - self.started, 1)
            self._test(bake)
            self._visit(merged)
            if seconds:
                self._run_bake(bake, seconds)
            self.lock.check()
            self._record(image, proven=bool(seconds) and bake.proven)
        except Stopped:
            raise  # the lock was lost
        except (Exception, Interrupted) as error:  # a mistake of ours is no reason to leave it there
            self._take_back(error, back)
        if seconds and bake.unjudged:
            raise Stopped(
                Exit.UNPROVEN,
                f"The new version serves, and whether it serves well is not known: {bake.unjudged}. "
                f"{RUNBOOK} says what to set.",
            )

    def _record(self, image: Image, *, proven: bool) -> None:
        """That this revision went all the way."""
        self.summary.proven = proven
        history = self.release.history()
        made = records.Record(history[-1]["revision"], history[-1]["updated"], str(image), proven)
        self.lock.write(records.KEY, records.write([*self._records(history), made]))

    def _upgrade(
        self, image: Image, files: list[Path], jobs: dict[str, str], older: State, bake: Bake, *, note: str = ""
    ) -> None:
        """Migrate, and apply what is new; run the jobs. One that has failed stays, to be looked at."""
        runs = ["migrations", *jobs]
        waits = "after" in jobs.values()
        known = {each.uid for each in self.rollout.pods(*runs)}
        generations = {each.deployment: each.generation for each in older.all}

        def new() -> list[Pod]:
            return [each for each in self.rollout.pods(*runs) if each.uid not in known and each.phase != "Succeeded"]

        def fail(pods: list[Pod], why: str = "") -> Failure:
            name = pods[0].component
            what = "The migrations fail" if name == "migrations" else f"The job {name} fails"
            spared = "" if jobs.get(name) == "after" else ", and no pod was replaced"
            words = self.rollout.last_words([each for each in pods if each.component == name])
            return Failure(f"{what}{why or spared}.\n{words}".rstrip())

        def rolling(*, late: bool = False) -> None:
            """Helm waits for the pods: what was applied is judged meanwhile."""
            state = self.rollout.find()
            applied = [each for each in state.all if each.generation != generations.get(each.deployment, 0)]
            if state in applied:
                self._watch(state, bake, step)
            self.rollout.judge(applied, late=late)

        def look() -> None:
            self.lock.check()
            for each in new():
                if each.hopeless:
                    raise fail([each], f": the pod {each.name} {each.hopeless}")
            if waits:
                rolling()

        description = f"{note or records.OURS}{image.short} by {self.lock.who}"
        named = "migrate, upgrade and run the jobs" if jobs else "migrate and upgrade"
        with self._step(named, 30) as step:
            try:
                self.release.upgrade(
                    CHART, files, keep=self.environment.history, description=description, waits=waits, look=look
                )
            except CommandFailed as error:
                pods = new()
                if HOOK_FAILED.search(error.said) and pods:
                    raise fail(pods) from None
                if waits:
                    rolling(late=True)
                raise
            except Stopped:
                raise  # the lock was lost: the Job may be somebody else's
            except BaseException:
                # Else they would go on while the release goes back.
                with suppress(CommandFailed):
                    self._delete("jobs", *runs)
                raise

    # --- the canary

    def _plan(self, image: Image, merged: values.Values, older: State) -> canary.Plan | None:
        """What the canary is to be; None where none is wanted, or there is nothing that it could stand beside."""
        wanted = self.environment.canary
        if wanted is None:
            return None
        found = canary.plan(wanted, self.release.values(), merged, image, older.wanted) if older.deployment else None
        if found is None:
            self.progress.say("  [dim]no canary: it would be what serves already, or nothing serves[/]")
            return None
        with self._step("check what the canary would be"), self._canary_files(found, found.steps[0]) as files:
            self.release.rendered(CHART, files)
        return found

    @contextmanager
    def _canary_files(
        self, plan: canary.Plan, step: canary.Step, new: list[Path] | None = None
    ) -> Iterator[list[Path]]:
        """Values of a step, on top of those of what serves, or of the new release's."""
        with tempfile.TemporaryDirectory() as folder:
            present, own = Path(folder) / "present.yaml", Path(folder) / "canary.yaml"
            present.write_text(yaml.safe_dump(plan.present), encoding="utf-8")
            own.write_text(yaml.safe_dump(plan.values(step)), encoding="utf-8")
            yield [*(new or [present]), own]

    def _canary(self, plan: canary.Plan, new: list[Path], merged: values.Values, bake: Bake, *, watched: bool) -> None:
        """Shift requests to the new version step by step, then have it replace the present one beside the canary."""
        before = {name: when for name, when in values.jobs(merged).items() if when == "before"}
        for step in plan.steps:
            if step.weight == 0:
                with self._canary_files(plan, step) as files:
                    note = f"{records.CANARY}of "
                    self._upgrade(plan.image, files, before, State(), bake, note=note)
                self._canary_ready("wait for the canary")
                continue
            self._in_flight = True
            older = {each.name for each in self.rollout.canary().pods}
            self._weigh(f"shift {step.weight} % of the requests to the canary", plan, step)
            self._canary_ready("wait for the canary's further pods")
            if watched and self.environment.canary:
                judged = self._bake(merged, older)
                name = f"watch the canary with {step.weight} % of the requests"
                self._watch_for(name, self.environment.canary.seconds, judged, self.rollout.canary)
        self._weigh("replace the present version beside the canary", plan, plan.steps[-1], new)
        with self._step("wait until the new version has replaced it", 40) as shown:
            shown.detail = _pods(self.rollout.wait(lambda state: self._watch(state, bake, shown)))

    def _weigh(self, name: str, plan: canary.Plan, step: canary.Step, new: list[Path] | None = None) -> None:
        with self._step(name), self._canary_files(plan, step, new) as files:
            description = f"{records.CANARY}with {step.weight} % of {plan.image.short} by {self.lock.who}"
            keep = self.environment.history
            self.release.upgrade(CHART, files, keep=keep, description=description, hooks=False, look=self.lock.check)

    def _canary_ready(self, name: str) -> None:
        def watch(state: State) -> None:
            self.lock.check()
            step.detail = state.spelled()

        with self._step(name, 20) as step:
            step.detail = f"{self.rollout.wait(watch, self.rollout.canary).wanted} pods"

    def _withdraw(self) -> None:
        """Send the canary no more requests, before its pods are taken away. What fails here the way back does, too."""
        with suppress(Failure), self._step("send the canary no more requests"):
            description = f"{records.CANARY}withdrawn by {self.lock.who}"
            self.release.change(CHART, "canary.weight=0", keep=self.environment.history, description=description)

    # --- what is seen of it

    def _watch(self, state: State, bake: Bake, step: Shown) -> None:
        """Once the new version has a pod it answers users, and is judged."""
        self.lock.check()
        self._tell(state, step)
        bake.look(state)

    def _tell(self, state: State, step: Shown) -> None:
        """How far it is; each worker has lines of its own."""
        step.detail = state.spelled()
        for each in state.workers:
            line = each.spelled()
            if self._told.get(each.deployment) != line:
                self._told[each.deployment] = line
                self.progress.say(f"  {escape(line)}")

    def _cron_jobs(self, wanted: dict[str, list[str]]) -> None:
        """Raise Failure where a cron job would not run what was deployed: a webhook may have changed it."""
        if not wanted:
            return
        with self._step("look at the cron jobs") as step:
            live = changes.images(self.access.get("cronjobs"))
            for name, images in wanted.items():
                if live.get(name) != images:
                    raise Failure(
                        f"The cron job {name} should run {', '.join(images)}, but in the cluster it is to run "
                        f"{', '.join(live.get(name, [])) or 'nothing: it is not there'}."
                    )
            step.detail = ", ".join(wanted)

    def _test(self, bake: Bake) -> None:
        """A test that fails is told apart from one that could not run: the latter says nothing against the release."""
        known = {each.uid for each in self.rollout.pods("test")}

        def look() -> None:
            self.lock.check()
            if bake.due:
                bake.look(self.rollout.look())

        with self._step("helm test", 20) as step:
            try:
                self.release.test(look)
            except CommandFailed as error:
                pods = [each for each in self.rollout.pods("test") if each.uid not in known]
                why = not_made(error.said) or _never_ran(pods)
                if not why:
                    # Only those that failed are still there; Helm itself says no word of theirs.
                    raise Failure(f"{error}\n{self.rollout.last_words(pods)}".rstrip()) from None
                step.detail = "did not run"
                self.summary.untested = why
                self._loud(f"  `helm test` did not run, which is no reason to take the release back: {why}")
                self._loud("  Give its pods what the namespace asks for (tests.resources, tests.podLabels and others).")
                with suppress(CommandFailed):
                    self._delete("pods,configmaps", "test", wait=False)
            except Stopped:
                raise  # the lock was lost
            except BaseException:
                # Ended half-way, Helm leaves them all. The way back does not wait for them.
                with suppress(CommandFailed):
                    self._delete("pods,configmaps", "test", wait=False)
                raise

    def _visit(self, merged: values.Values | None = None) -> None:
        """With these values the requests of `helm test` are sent, too: an earlier version may not know them."""
        wanted = values.smoke_requests(merged) if merged and self.environment.smoke.requests else []
        with self._step(f"visit {self.environment.url}") as step:
            answer = self.smoke.run(lambda: {each.name for each in self.rollout.look().new}, wanted)
            self._now(answer.version)
            told = answer.version or "the image does not say which version answers"
            step.detail = f"{self.environment.smoke.answers} answers in a row, {told}"

    def _bake(self, merged: values.Values, older: set[str]) -> Bake:
        wanted, objectives = self.environment.bake, values.objectives(merged)
        prometheus = self.environment.prometheus
        limits = Limits(
            objectives,
            wanted.burn_rate or objectives.burn_rate,
            wanted.minimum_bad or objectives.minimum,
            wanted.minimum_requests,
            wanted.failed_tasks,
        )
        asked = Prometheus(self.access, prometheus) if prometheus else None
        return Bake(asked, self.environment.release, limits, wanted.every, older)

    def _run_bake(self, bake: Bake, seconds: float) -> None:
        told = self._watch_for("watch what the new version answers", seconds, bake, self.rollout.look)
        self.summary.baked = f"{seconds:g} s: {told}"

    def _watch_for(self, name: str, seconds: float, bake: Bake, look: Callable[[], State]) -> str:
        """Judge what `look` sees for that long; what it has come to, in a few words."""

        def state() -> State:
            self.lock.check()
            return look()

        with self._step(name, seconds) as step:

            def say(line: str) -> None:
                step.detail = line

            bake.run(seconds, state, say)
            step.detail = bake.spelled() if bake.proven else f"proves nothing: {bake.unproven()}"
        return step.detail

    # --- the way back

    def _take_back(self, error: BaseException, back: int | None) -> None:
        """Raises Stopped, whatever comes of it."""
        why = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
        if isinstance(error, Interrupted):
            why = f"{error} came."
        self.summary.failure = why
        self.progress.say(f"[red]{escape(why)}[/]")
        if self._in_flight:
            self._withdraw()
        try:
            if back is None:
                with self._step("remove what was installed: nothing was there before"):
                    if self.release.history():
                        self.release.uninstall()
                self.summary.after = Version()
            else:
                self._go_back(back)
        except Exception as failure:
            helm = shlex.join(self.access.helm)
            name = self.release.name
            run = (
                f"{helm} rollback {name} {back} --force-conflicts --wait" if back else f"{helm} uninstall {name} --wait"
            )
            raise Stopped(
                Exit.STUCK,
                f"The way back failed, too, and a person is needed: {failure}\n"
                f"See `{helm} history {name}` and `{shlex.join(self.access.kubectl)} get pods`; then run `{run}`.",
            ) from failure
        code = INTERRUPTED[error.number] if isinstance(error, Interrupted) else Exit.ROLLED_BACK
        there = f"revision {back} serves again" if back else "nothing is left of it, and nothing serves, as before"
        raise Stopped(code, f"The deploy was taken back: {there}.")

    def _go_back(self, revision: int) -> None:
        """To that revision, and see that it serves."""
        with self._step(f"roll back to revision {revision}", 40) as step:
            self.release.rollback(revision, keep=self.environment.history)

            now = self.rollout.wait(lambda state: self._tell(state, step))
            step.detail = _pods(now)
        history = self.release.history()
        before = self._records(history)
        self._visit()
        self.lock.write(records.KEY, records.write(records.gone_back(before, revision, history[-1])))

    def _rollback(self, revision: int | None) -> None:
        history = self._mended()
        if not history:
            raise Failure(f"There is no release {self.release.name} in {self.access.namespace}: nothing to roll back.")
        present = history[-1]["revision"]
        known = [each["revision"] for each in history if each["status"] in GOOD]
        back = revision if revision is not None else records.before(self._records(history), history, present)
        listed = f"`{shlex.join(self.access.helm)} history {self.release.name}` lists them"
        if back is None:
            raise Failure(
                f"There is no good revision before the present one, {present}: name one, REVISION=... ({listed})."
            )
        if back not in known or back == present:
            what = "the present one" if back == present else "none that can be gone back to"
            raise Failure(f"REVISION is {back}, which is {what}: {listed}.")
        self._present(history)
        try:
            self._go_back(back)
        except Stopped:
            raise
        except (Exception, Interrupted) as error:
            helm = shlex.join(self.access.helm)
            raise Stopped(
                Exit.STUCK,
                f"The rollback to revision {back} failed, and a person is needed: {error}\n"
                f"See `{helm} history {self.release.name}` and `{shlex.join(self.access.kubectl)} get pods`.",
            ) from error

    # --- what all of them need

    def _mended(self) -> list[Revision]:
        """The release's history, after an interrupted deploy was taken back."""
        history = self.release.history()
        if not history:
            return history
        with self._step("look for an interrupted deploy") as step:
            back = records.before(self._records(history), history, history[-1]["revision"])
            if self.release.mend_interrupted(back):
                step.detail = "there was one, and it was taken back"
            elif back is not None and history[-1]["description"].startswith(records.CANARY):
                step.detail = "it had a canary, which is taken back"
                self._withdraw()
                self.release.rollback(back, keep=self.environment.history)
                self.rollout.wait(lambda _: self.lock.check())
            else:
                return history
        return self.release.history()

    def _present(self, history: list[Revision]) -> State:
        """What serves before the deploy."""
        if not history:
            return State()
        state = self.rollout.find()
        self.summary.before = Version(history[-1]["revision"], state.image, self.smoke.version())
        self.summary.after = Version(**asdict(self.summary.before))
        return state

    def _now(self, version: str) -> None:
        history = self.release.history()
        self.summary.after = Version(history[-1]["revision"], self.rollout.look().image, version)

    def _records(self, history: list[Revision]) -> list[records.Record]:
        return records.read(self.lock.note(records.KEY), history)

    def _delete(self, kinds: str, *components: str, wait: bool = True) -> None:
        options = ["--ignore-not-found", "--timeout=30s", *([] if wait else ["--wait=false"])]
        output([*self.access.kubectl, "delete", kinds, self.rollout.selector(*components), *options])

    def _namespace_there(self) -> bool:
        try:
            return self.access.exists("namespace", self.access.namespace)
        except CommandFailed as error:
            if "Forbidden" in error.said:
                return True  # whoever may not look at namespaces works in one that is there
            raise

    def _make_namespace(self) -> None:
        output([*self.access.kubectl, "create", *AS_IT_IS], stdin=json.dumps(namespace.manifest(self.access.namespace)))

    def _links(self) -> dict[str, str]:
        environment = self.environment
        rules = values.load(environment.values, environment.set)["prometheusRule"]
        dashboards = environment.links.dashboards or rules["dashboardUrl"]
        query = f"?var-namespace={environment.namespace}&var-job={environment.release}"
        found = {"address": environment.url}
        if dashboards:
            found["dashboard"] = f"{dashboards.rstrip('/')}/d/fastapi-overview{query}"
        found["runbooks"] = environment.links.runbooks or rules["runbookUrl"]
        found["history"] = f"{shlex.join(self.access.helm)} history {environment.release}"
        return found

    @contextmanager
    def _step(self, name: str, expected: float | None = None) -> Iterator[Shown]:
        began = time.monotonic()
        passed = False
        shown: Shown | None = None
        try:
            with self.progress.step(name, expected) as shown:
                yield shown
            passed = True
        finally:
            note = shown.detail if shown else ""
            self.summary.steps.append(Step(name, round(time.monotonic() - began, 1), passed, note))

    @contextmanager
    def _interrupted(self) -> Iterator[None]:
        """A signal before anything was changed."""
        try:
            yield
        except Interrupted as signal:
            raise Stopped(INTERRUPTED[signal.number], f"{signal} came before anything was changed.") from None

    def _loud(self, line: str) -> None:
        self.progress.say(f"[yellow]{escape(line)}[/]")


def _overrides(environment: Environment, image: Image) -> values.Values:
    own = {"image": {"repository": image.repository, "digest": image.digest}}
    return values.merge(environment.set, own)


def _pods(state: State) -> str:
    return ", ".join(
        f"{each.wanted} pods{'' if each is state else f' of the worker {each.component}'}" for each in state.all
    )


def _never_ran(pods: list[Pod]) -> str:
    """Why no container of a test pod was started; empty where one was, or where there is no pod at all."""
    if any(each.phase in {"Running", "Failed"} for each in pods):
        return ""
    waiting = [each for each in pods if each.phase == "Pending"]
    return "; ".join(f"the pod {each.name} {each.hopeless or 'did not begin to run in time'}" for each in waiting)


def _next(history: list[Revision]) -> int:
    return int(history[-1]["revision"]) + 1 if history else 1
