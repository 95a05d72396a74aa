"""A Helm release: what it was, what it becomes, and back."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from delivery.deploy.child import run_watched
from k8s.release import HelmRelease
from toolkit.process import output


def nothing() -> None:
    """Nobody looks meanwhile."""


@dataclass(frozen=True)
class LiveRelease(HelmRelease):
    """What a deploy does with one."""

    def manifest(self) -> str:
        """The objects of the present revision, without hooks; empty where there is no release."""
        return output([*self.helm, "get", "manifest", self.name]) if self.history() else ""

    def values(self) -> dict[str, Any]:
        """What the present revision was given on top of the chart's own values."""
        return json.loads(output([*self.helm, "get", "values", self.name, "--output=json"])) or {}

    def rendered(self, chart: Path, values: Sequence[Path]) -> "Rendered":
        """What an upgrade would apply, as the chart renders it with a look at the live cluster. Changes nothing."""
        argv = [*self.helm, "upgrade", "--install", self.name, str(chart), *_files(values), "--dry-run=server"]
        found = json.loads(output([*argv, "--force-conflicts", "--output=json"]))
        hooks = [each["manifest"] for each in found.get("hooks") or [] if "test" not in each["events"]]
        return Rendered(found["manifest"], hooks)

    def upgrade(
        self,
        chart: Path,
        values: Sequence[Path],
        *,
        keep: int,
        description: str,
        waits: bool = False,
        hooks: bool = True,
        look: Callable[[], None] = nothing,
    ) -> str:
        """Run the hooks and apply the objects. Helm does not wait for the rollout, unless `waits`: for hooks that are
        to run after it. Returns what Helm said.

        A field that somebody has changed by hand is the release's again (docs/decisions/0008-replicas.md).
        """
        argv = [*self.helm, "upgrade", "--install", self.name, str(chart), *_files(values), "--force-conflicts"]
        argv += [f"--history-max={keep}", f"--description={description}", f"--timeout={self.timeout}s"]
        argv += [f"--wait={'watcher' if waits else 'hookOnly'}", *([] if hooks else ["--no-hooks"])]
        return run_watched(argv, log=self.log, look=look)

    def change(self, chart: Path, setting: str, *, keep: int, description: str) -> None:
        """Apply the present revision's objects again with one value otherwise, and run no hook."""
        argv = [*self.helm, "upgrade", self.name, str(chart), "--reset-then-reuse-values", f"--set={setting}"]
        argv += [f"--history-max={keep}", f"--description={description}", f"--timeout={self.timeout}s"]
        run_watched([*argv, "--force-conflicts", "--wait=hookOnly", "--no-hooks"], log=self.log, look=nothing)

    def rollback(self, revision: int, *, keep: int, look: Callable[[], None] = nothing) -> None:
        """Apply an earlier revision's objects, without waiting for the rollout."""
        argv = [*self.helm, "rollback", self.name, str(revision), "--force-conflicts", f"--history-max={keep}"]
        run_watched([*argv, f"--timeout={self.timeout}s", "--wait=hookOnly"], log=self.log, look=look)

    def uninstall(self) -> None:
        """Remove every object of it and wait until they are gone."""
        argv = [*self.helm, "uninstall", self.name, "--wait", f"--timeout={self.timeout}s"]
        run_watched(argv, log=self.log, look=nothing)

    def test(self, look: Callable[[], None] = nothing) -> str:
        """`helm test`, whose pods stay where they fail. Raises CommandFailed; `not_made` says whether a test failed."""
        argv = [*self.helm, "test", self.name, f"--timeout={self.timeout}s"]
        return run_watched(argv, log=self.log, look=look)


# Of an object that was made and failed Helm says something else.
NOT_MADE = re.compile(r"Hook test \S+ failed: (?:server-side apply failed for object .+?, Kind=\w+: )?(.+)")


def not_made(said: str) -> str:
    """Why the API server would not make an object of `helm test`, by what Helm said; empty where it made all."""
    found = NOT_MADE.search(said)
    return found[1] if found else ""


@dataclass(frozen=True)
class Rendered:
    """Manifests as YAML."""

    manifest: str
    hooks: list[str]


def _files(values: Sequence[Path]) -> list[str]:
    return [f"--values={file}" for file in values]
