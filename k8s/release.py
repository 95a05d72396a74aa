"""A Helm release: its history, and the end of what was interrupted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.process import output, run

Revision = dict[str, Any]
GOOD = {"deployed", "superseded"}  # as Helm sees it: applied, whether it ever served or not


@dataclass(frozen=True)
class HelmRelease:
    """One release. `helm` names context and namespace; what Helm says goes to build/log/LOG.log."""

    helm: Sequence[str]
    name: str
    log: str
    timeout: int = 180
    """Seconds for any one of Helm's waits."""

    def history(self) -> list[Revision]:
        """The revisions as Helm has them, the latest last; empty where there is no release."""
        found = json.loads(output([*self.helm, "list", "--filter", f"^{self.name}$", "--output=json"]))
        if not found:
            return []
        history: list[Revision] = json.loads(output([*self.helm, "history", self.name, "--output=json"]))
        return history

    def mend_interrupted(self, to: int | None = None) -> bool:
        """An upgrade that was interrupted stays "pending", and Helm refuses the next: take it back first, to the
        revision `to` or else to the last that Helm took for good. A first install that failed is removed, as Helm
        refuses to go on from it, too. Returns whether there was anything to mend."""
        history = self.history()
        good = [r["revision"] for r in history if r["status"] in GOOD]
        if not history or (good and not history[-1]["status"].startswith("pending")):
            return False
        if good:
            back = [*self.helm, "rollback", self.name, str(to or good[-1]), "--force-conflicts"]
            run([*back, "--wait", f"--timeout={self.timeout}s"], log=self.log)
        else:
            run([*self.helm, "uninstall", self.name, "--wait", f"--timeout={self.timeout}s"], log=self.log)
        return True
