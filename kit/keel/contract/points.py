"""The points of the contract. Each is tried by doing it, and says what was seen, why it matters, and what to change."""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.client import HTTPException

from keel.contract.container import LOG_MIB, Container, ContractError, Pod, docker, in_bytes, run, wait
from keel.contract.metric_profiles import INSTRUMENTATOR, INSTRUMENTATOR_LINE, OWN, labels_of, recognized
from keel.contract.visitors import Visitors

START_SECONDS = 60
UNAVAILABLE = 503
REST_SHARE = 0.8  # of the limit of memory, at rest
STRANGERS = 40  # paths and methods that nobody expects
LOG_BYTES = LOG_MIB * 1024**2 // 2  # of a log until it is ready, or given up
READ_ONLY = re.compile(r"read-only file system|EROFS", re.IGNORECASE)
SERVE = "Serve it by `python -m keel.serve module:app`"


@dataclass(frozen=True)
class Result:
    """`kept` is None where a point could not be tried."""

    point: str
    kept: bool | None
    seen: str
    why: str
    change: str = ""


@dataclass(frozen=True)
class Trial:
    """What the points are tried with: the container, and what is asked of it."""

    container: Container
    path: str
    canary: str
    started_after: float | None
    """Seconds until it was ready; None if it never was."""

    @property
    def pod(self) -> Pod:
        return self.container.pod


Point = Callable[[Trial], Result]


def ready(trial: Trial) -> Result:
    """It gets ready."""
    after = trial.started_after
    if after is None:
        last = trial.container.end_of_log(1)
        seen = f"not ready within {START_SECONDS} s; the last line of its log: {last[:200]!r}"
    else:
        seen = f"ready after {after:.1f} s"
    why = "A pod gets no requests before it is ready; a rollout waits for it."
    return Result(
        "gets ready", after is not None, seen, why, f"{_answer(trial.pod, trial.pod.readiness)}, with 200. {SERVE}."
    )


def public_port(trial: Trial) -> Result:
    """It answers on the public port, from outside the container."""
    status = trial.container.status(trial.pod.public, trial.path)
    why = "The Service and the Ingress send requests there."
    change = f"Listen on all addresses (0.0.0.0 or ::) at $APP_PORT, {trial.pod.public}: uvicorn --host 0.0.0.0."
    return Result("answers on the public port", 0 < status < 500, f"{trial.path}: {status or 'no answer'}", why, change)


def probe(name: str, why: str) -> Point:
    """It has what the chart asks for: a probe, or the metrics."""

    def point(trial: Trial) -> Result:
        path = getattr(trial.pod, name)
        if not path:
            seen = "the values have it ask for no path"
            return Result(f"has a {name} probe", None, seen, why, "See on a cluster that its pods get ready.")
        status = trial.container.status(trial.pod.management, path)
        return Result(
            f"has {path}", status == 200, f"{status or 'no answer'}", why, f"{_answer(trial.pod, path)}. {SERVE}."
        )

    return point


def _answer(pod: Pod, path: str) -> str:
    port = f"port {pod.public}" if pod.one_port else "a second port, $APP_MANAGEMENT_PORT"
    return f"Answer {path or '/'} on {port}"


def management_is_apart(trial: Trial) -> Result:
    """The public port has no metrics."""
    why = "Whoever reaches the Ingress could read them."
    if trial.pod.one_port:
        change = "The chart has Ingress and HTTPRoute refuse them (internalPaths); a network policy keeps pods out."
        return Result("keeps metrics to itself", None, "one port for both", why, change)
    answer = trial.container.try_to_ask(trial.pod.public, trial.pod.metrics)
    there = answer.status == 200 and "# TYPE" in answer.body
    seen = "the public port has /metrics" if there else "the public port has none"
    return Result("keeps metrics to itself", not there, seen, why, "Serve /metrics on the management port alone.")


def histogram(trial: Trial) -> Result:
    """It has the histogram that alerts and dashboards read, under the names of its profile."""
    pod = trial.pod
    trial.container.status(pod.public, trial.path)
    series = labels_of(_metrics(trial))
    missing = pod.metric_names.missing(series)
    seen = missing or f"{pod.metric_names.bucket} has {', '.join(pod.metric_names.labels)}"
    why = "Availability and latency are judged by it; without a status every error counts as good."
    return Result("has the histogram", not missing, seen, why, _histogram_change(pod, recognized(series)))


def _histogram_change(pod: Pod, library: str) -> str:
    profile = f"Set metrics.profile to {library}" if library not in ("", pod.metric_profile) else ""
    if INSTRUMENTATOR in (library, pod.metric_profile):
        line = f"write `{INSTRUMENTATOR_LINE}`, so that it has a status"
        return f"{profile}, and {line}." if profile else f"{line[0].upper()}{line[1:]}."
    if profile:
        return f"{profile}: its names are those."
    names = pod.metric_names
    given = f"Give {names.histogram} the labels {', '.join(names.labels)}."
    return f"{given} {SERVE}." if pod.metric_profile == OWN else given


def bounded_series(trial: Trial) -> Result:
    """No client can make series without end."""
    before = _series(trial)
    why = "Each series takes memory, here and in Prometheus, for as long as the pod lives."
    change = "Label with the route's template, and with known methods alone."
    if not before:
        return Result("no client makes series without end", None, "there are no metrics to count", why, change)
    for number in range(STRANGERS):
        path = f"/{secrets.token_hex(6)}/{number}"
        for method in ("GET", f"X{secrets.token_hex(3).upper()}"):
            trial.container.try_to_ask(trial.pod.public, path, method)
    made = _series(trial) - before
    seen = f"{2 * STRANGERS} odd requests made {made} series"
    return Result("no client makes series without end", made < STRANGERS, seen, why, change)


def json_logs(trial: Trial) -> Result:
    """Its log is JSON, an object a line."""
    lines = [line for line in trial.container.logs().splitlines() if line.strip()]
    odd = [line for line in lines if not _is_object(line)]
    seen = f"{len(lines) - len(odd)} of {len(lines)} lines are JSON"
    seen += f"; one that is not: {odd[0][:60]!r}" if odd else ""
    why = "A log store finds by field what is an object a line; a trace of many lines is torn apart."
    return Result("logs JSON, an object a line", bool(lines) and not odd, seen, why, f"Log to stdout as JSON. {SERVE}.")


def silent_secrets(trial: Trial) -> Result:
    """What is secret is in no log."""
    bearer = f"Bearer {trial.canary}"
    trial.container.try_to_ask(trial.pod.public, f"{trial.path}?token={trial.canary}", Authorization=bearer)
    shown = trial.canary in trial.container.logs()
    seen = "a token and a query were logged" if shown else "a token and a query were sent, and not logged"
    why = "Logs are read by more people than secrets are."
    return Result("logs no secrets", not shown, seen, why, "Log paths without their query, and no headers.")


def files(trial: Trial) -> Result:
    """It writes to no other place than /tmp, as far as it says so."""
    refused = [line for line in trial.container.logs().splitlines() if READ_ONLY.search(line)]
    seen = f"it was refused: {refused[0][:100]!r}" if refused else "its log names no file that could not be written"
    why = "The file system of a pod is read-only, but for /tmp."
    return Result("writes to /tmp alone", not refused, seen, why, "Write to /tmp, or give it a volume (persistence).")


def memory(trial: Trial) -> Result:
    """It leaves room below its limit of memory at rest."""
    used, limit = trial.container.memory(), in_bytes(trial.pod.memory)
    seen = f"{used / 1024**2:.0f} of {limit / 1024**2:.0f} MiB"
    why = "A pod at its limit is killed with the requests that it serves."
    change = "Raise resources.limits.memory, or start fewer workers."
    return Result("has room in memory", used < REST_SHARE * limit, seen, why, change)


def headers(trial: Trial) -> Result:
    """Its answers say what browsers must not do, and not what it is made of."""
    found = trial.container.try_to_ask(trial.pod.public, trial.path).headers
    wrong = [] if found.get("x-content-type-options") == "nosniff" else ["no X-Content-Type-Options: nosniff"]
    wrong += [f"Server: {found['server']}"] if "server" in found else []
    why = "A browser guesses types else, and an attacker need not guess versions."
    change = "Send X-Content-Type-Options: nosniff; start uvicorn with --no-server-header."
    return Result("has safe headers", not wrong, "; ".join(wrong) or "as they should be", why, change)


def drain(trial: Trial) -> list[Result]:
    """It ends well on SIGTERM, under requests."""
    container, pod = trial.container, trial.pod
    path = pod.readiness or trial.path
    kept = _kept_alive(trial)
    with Visitors(container, trial.path) as visitors:
        wait(lambda: visitors.answered > 0, 5)
        container.signal()
        told = _readiness_at_the_end(trial)
        leaves = kept()
        code = container.end(pod.grace_seconds)
    ended = "still running" if code is None else f"exit code {code}"
    return [
        Result("ends on SIGTERM", code is not None, ended, "Else it is killed, with what it serves.", _SHELL),
        Result("exits with 0", code == 0, ended, "Anything else reads as a crash.", "Exit with 0 after a drain."),
        Result(
            "loses no request while it ends",
            visitors.answered > 0 and visitors.lost == 0,
            f"{visitors.lost} of {visitors.answered + visitors.lost} were lost",
            "Proxies send requests for a moment after SIGTERM.",
            f"Serve on for APP_DRAIN_DELAY_SECONDS, then finish what has begun. {SERVE}.",
        ),
        Result(
            "is not ready while it ends",
            # With one port, that it is closed says so to a probe, too.
            told == UNAVAILABLE or (told == 0 and pod.one_port),
            _TOLD[told].format(path),
            "Whoever looks at readiness sends nothing more.",
            f"Answer {path} with 503 from SIGTERM on. {SERVE}.",
        ),
        Result(
            "asks kept connections to leave",
            leaves,
            "Connection: close after SIGTERM" if leaves else "a kept connection was not asked to leave",
            "A client that goes on with it loses its next request when the port closes.",
            f"Answer with Connection: close from SIGTERM on. {SERVE}.",
        ),
    ]


def _readiness_at_the_end(trial: Trial) -> int | None:
    """What it says after SIGTERM: 503, or 0 for no answer any more; None if it goes on as before."""
    if trial.started_after is None:
        return None
    found = [200]

    def other() -> bool:
        found.append(trial.container.status(trial.pod.management, trial.pod.readiness or trial.path))
        return found[-1] in (UNAVAILABLE, 0)

    return found[-1] if wait(other, 1.5) else None


_TOLD = {UNAVAILABLE: "{} said so", 0: "its port was closed", None: "{} did not tell of it"}
_SHELL = 'Start it with `exec` in a shell script, or with CMD ["uvicorn", ...]: a shell keeps the signal to itself.'


def away(pod: Pod, variables: dict[str, str]) -> Result:
    """Liveness does not follow a dependency that is away."""
    why = "What all pods share takes all of them out at once, and a restart mends nothing."
    point = "stays alive without its dependencies"
    if not variables:
        change = "Name a dependency that leads nowhere: --away DATABASE_URL=postgresql://user:secret@192.0.2.1/name."
        return Result(point, None, "no dependency was named", why, change)
    path = pod.liveness
    if not path:
        return Result(point, None, "the values have liveness ask for no path", why, "Connecting asks no dependency.")
    with run(replace(pod, environment={**pod.environment, **variables})) as container:
        alive = wait(lambda: container.status(pod.management, path) == 200, START_SECONDS)
        # For as long as the chart's probe needs to be sure.
        stays = alive and not wait(lambda: container.status(pod.management, path) != 200, 5)
        said = "200 all the time" if stays else container.status(pod.management, path) or "no answer"
        seen = f"{path}: {said}"
        if pod.readiness and pod.readiness != path:
            seen += f"; {pod.readiness}: {container.status(pod.management, pod.readiness) or 'no answer'}"
    return Result(point, stays, seen, why, f"Let {path} ask nobody: that the process answers is enough.")


POINTS: list[Point] = [
    ready,
    public_port,
    probe("startup", "A slow start is waited for, and not taken for a hang."),
    probe("liveness", "A process that hangs is restarted."),
    probe("readiness", "A pod that cannot serve gets no requests."),
    probe("metrics", "Alerts, dashboards and the autoscaler read it."),
    management_is_apart,
    histogram,
    bounded_series,
    json_logs,
    silent_secrets,
    memory,
    headers,
    files,
]


def judge(pod: Pod, path: str, variables_away: dict[str, str]) -> Iterator[Result]:
    """Try all points, and tell of each as it is known.

    Raises:
        ContractError: the image does not start, answers nowhere, or logs without end.
    """
    canary = f"canary-{secrets.token_hex(8)}"
    with run(pod) as container:
        began = time.monotonic()
        up = wait(
            lambda: container.status(pod.management, pod.readiness or path) == 200 or not container.running,
            START_SECONDS,
        )
        after = time.monotonic() - began
        if trouble := _trouble(container, path, ready=up):
            raise ContractError(f"{pod.image} {trouble} The end of its log:\n{container.end_of_log()}")
        trial = Trial(container, path, canary, after if up else None)
        for point in POINTS:
            yield point(trial)
        yield from drain(trial)
    yield away(pod, variables_away)


def _trouble(container: Container, path: str, *, ready: bool) -> str:
    """Why nothing can be tried with an image; empty if it can."""
    pod = container.pod
    if not container.running:
        here, its = docker("version", "--format={{.Server.Os}}/{{.Server.Arch}}"), container.platform()
        if here != its:
            return f"is for {its}, and this machine runs {here}: build it for that, too."
        return f"ended at once, with exit code {container.state()['ExitCode']}."
    if len(container.logs()) > LOG_BYTES:
        return f"logs without end: more than {LOG_BYTES // 1024**2} MiB until it was asked for anything."
    if not ready and not any(container.status(port, path) for port in (pod.public, pod.management)):
        ports = " and ".join(map(str, container.listens_on()))
        elsewhere = f"it listens on {ports}: name that by --port or --values." if ports else "it listens on no port."
        return f"answers on neither {pod.public} nor {pod.management} after {START_SECONDS} s; {elsewhere}"
    return ""


def _metrics(trial: Trial) -> str:
    return trial.container.try_to_ask(trial.pod.management, trial.pod.metrics).body


def _series(trial: Trial) -> int:
    return sum(1 for line in _metrics(trial).splitlines() if line and not line.startswith("#"))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _kept_alive(trial: Trial) -> Callable[[], bool]:
    """A connection that has been used once; asking again says whether the answer asks to leave."""
    connection = trial.container.connect(trial.pod.public)
    try:
        connection.request("GET", trial.path)
        connection.getresponse().read()
    except (OSError, HTTPException):
        return lambda: False

    def again() -> bool:
        try:
            connection.request("GET", trial.path)
            found = connection.getresponse()
            found.read()
            return (found.getheader("Connection") or "").lower() == "close"
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return again
