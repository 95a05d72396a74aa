"""Prometheus, asked through the API server: whoever may deploy needs no other way in."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from delivery.deploy import environment
from delivery.deploy.access import Access
from toolkit.process import CommandFailed, Failure
from toolkit.prometheus import QUERY, result


@dataclass(frozen=True)
class Prometheus:
    access: Access
    where: environment.Prometheus

    @property
    def _proxy(self) -> str:
        where = self.where
        return f"/api/v1/namespaces/{where.namespace}/services/{where.service}:{where.port}/proxy"

    def require(self) -> None:
        """Raise Failure where it does not answer."""
        try:
            self.query("vector(1)")
        except Failure as error:
            said = error.said.strip().splitlines() if isinstance(error, CommandFailed) else [str(error)]
            raise Failure(
                f"Prometheus does not answer at {self.where.service}.{self.where.namespace}:{self.where.port}, and the "
                f"bake time needs it: mend it, or deploy with BAKE=0. It was asked through the API server, which needs "
                f"the right to get services/proxy there. ({said[-1] if said else error})"
            ) from None

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        return result(self.access.raw(f"{self._proxy}{QUERY}?query={quote(promql, safe='')}"))
