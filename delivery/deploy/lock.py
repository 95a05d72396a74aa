"""One deploy at a time: a Lease of the release's namespace, renewed while the deploy runs.

Its annotations outlive the deploy: they keep which revisions were good.
"""

import datetime as dt
import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from delivery.deploy.access import AS_IT_IS, Access
from delivery.deploy.exits import Exit, Stopped
from toolkit.process import CommandFailed, Failure, output

SECONDS = 60
RENEW_EVERY = 15.0
# How long a Lease that seems to have run out is looked at before it is taken over: clocks differ.
DOUBT = RENEW_EVERY + 5
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"
Lease = dict[str, Any]


def me() -> str:
    """Who deploys, for whoever finds the lock taken."""
    run = os.environ.get("GITHUB_RUN_ID")
    if run:
        where = f"{os.environ.get('GITHUB_SERVER_URL', '')}/{os.environ.get('GITHUB_REPOSITORY', '')}"
        return f"{where}/actions/runs/{run}/attempts/{os.environ.get('GITHUB_RUN_ATTEMPT', '1')}"
    return f"{getpass.getuser()}@{socket.gethostname()}-{os.getpid()}"


def holder(lease: Lease | None) -> str | None:
    """Who holds a Lease, whether it has run out or not."""
    return (lease or {}).get("spec", {}).get("holderIdentity") or None


def expired(lease: Lease, now: dt.datetime) -> bool:
    """Whether its holder has not renewed it in time, by this host's clock."""
    spec = lease["spec"]
    renewed = parse(spec.get("renewTime") or spec.get("acquireTime"))
    return renewed is None or now > renewed + dt.timedelta(seconds=spec.get("leaseDurationSeconds") or SECONDS)


def parse(stamp: str | None) -> dt.datetime | None:
    return dt.datetime.strptime(stamp, STAMP).replace(tzinfo=dt.UTC) if stamp else None


def said(lease: Lease) -> str:
    """Who holds it since when, as a sentence."""
    since = parse(lease["spec"].get("acquireTime"))
    when = f" since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    return f"Another deploy is at work: {holder(lease)} has held the lock{when}."


def taken(lease: Lease | None, name: str, who: str, now: dt.datetime) -> Lease:
    """The Lease as `who` takes it, with what its annotations keep."""
    metadata = {"name": name, **({k: v for k, v in lease["metadata"].items() if k in KEPT} if lease else {})}
    stamp = now.strftime(STAMP)
    spec = {
        "holderIdentity": who,
        "leaseDurationSeconds": SECONDS,
        "acquireTime": stamp,
        "renewTime": stamp,
        "leaseTransitions": (lease["spec"].get("leaseTransitions", 0) + 1) if lease else 0,
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


KEPT = ("annotations", "labels", "resourceVersion")


class DeployLease:
    """The Lease `RELEASE-deploy`. Take it with `held`; `notes` may be read and written meanwhile."""

    def __init__(self, access: Access, release: str, who: str | None = None) -> None:
        self.access = access
        self.name = f"{release}-deploy"
        self.who = who or me()
        self._lease: Lease = {}
        self._mutex = threading.Lock()
        self._done = threading.Event()
        self._lost = ""

    @contextmanager
    def held(self, wait: float, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold it while the block runs, waiting `wait` seconds for it. Raises Stopped with LOCKED."""
        self._acquire(time.monotonic() + wait, waiting)
        renewing = threading.Thread(target=self._renew, daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._done.set()
            renewing.join()
            self._release()

    def check(self) -> None:
        """Raise Stopped if the lock was lost: then another deploy is at work, and this one must not touch anything."""
        if self._lost:
            raise Stopped(Exit.LOCKED, self._lost)

    def note(self, key: str) -> str:
        """An annotation; empty where there is none."""
        return str(self._lease["metadata"].get("annotations", {}).get(key, ""))

    def write(self, key: str, text: str) -> None:
        """Set an annotation."""
        with self._mutex:
            changed = json.loads(json.dumps(self._lease))
            changed["metadata"].setdefault("annotations", {})[key] = text
            self._lease = self._put(changed)

    def look(self) -> Lease | None:
        """The Lease as it is; None where there is none yet."""
        found = self.access.get("leases.coordination.k8s.io", "--field-selector", f"metadata.name={self.name}")
        return found[0] if found else None

    def _acquire(self, deadline: float, waiting: Callable[[str], None]) -> None:
        told = False
        doubted: tuple[str, float] | None = None  # a version of a Lease that has run out, and since when we know it
        while True:
            lease = self.look()
            now = dt.datetime.now(dt.UTC)
            free = lease is None or holder(lease) is None
            if lease is not None and not free and expired(lease, now):
                version = lease["metadata"]["resourceVersion"]
                if doubted is None or doubted[0] != version:
                    doubted = (version, time.monotonic())
                    waiting(
                        f"{holder(lease)} has not renewed its lock: see for {DOUBT:.0f} s whether it is really gone"
                    )
                free = time.monotonic() >= doubted[1] + DOUBT
            if free:
                try:
                    self._lease = self._put(taken(lease, self.name, self.who, now), new=lease is None)
                    return
                except CommandFailed as error:
                    if not _outrun(error):
                        raise
                    continue  # somebody was faster: look who
            assert lease is not None  # noqa: S101  # else it would be free
            doubting = doubted is not None and doubted[0] == lease["metadata"]["resourceVersion"]
            if not doubting and time.monotonic() >= deadline:
                raise Stopped(Exit.LOCKED, f"{said(lease)} Wait for its end, or let this one wait: WAIT=seconds.")
            if not doubting and not told:
                told = True
                waiting(said(lease))
            time.sleep(1)

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._done.wait(RENEW_EVERY):
            try:
                with self._mutex:
                    changed = json.loads(json.dumps(self._lease))
                    changed["spec"]["renewTime"] = dt.datetime.now(dt.UTC).strftime(STAMP)
                    self._lease = self._put(changed)
                renewed = time.monotonic()
            except Failure as error:
                if isinstance(error, CommandFailed) and _outrun(error):
                    self._lost = (
                        "The lock was lost: another deploy has taken it over, and this one touches nothing more."
                    )
                    return
                if time.monotonic() > renewed + SECONDS:
                    self._lost = f"The lock was lost: it could not be renewed for {SECONDS} s ({error})"
                    return

    def _release(self) -> None:
        if self._lost:
            return
        freed = json.loads(json.dumps(self._lease))
        for key in ("holderIdentity", "acquireTime", "renewTime", "leaseDurationSeconds"):
            freed["spec"].pop(key, None)
        with suppress(CommandFailed):  # it runs out by itself
            self._put(freed)

    def _put(self, lease: Lease, *, new: bool = False) -> Lease:
        """Create or replace it; only if it is still as it was when it was read."""
        text = output(
            [*self.access.kubectl, "create" if new else "replace", *AS_IT_IS, "--output=json"],
            stdin=json.dumps(lease),
        )
        found: Lease = json.loads(text)
        found["metadata"].pop("managedFields", None)
        return found


def _outrun(error: CommandFailed) -> bool:
    """Whether somebody else wrote it first, or took it away."""
    if "namespaces" in error.said:
        return False  # it is the namespace that is not there
    return any(reason in error.said for reason in ("AlreadyExists", "Conflict", "NotFound"))
