"""Another release of the link shortener, in a namespace of its own, with a database and a route of its own."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE as LINKS
from k8s.service import RELEASE as LINKS_RELEASE
from tests.e2e import database
from tests.e2e.cluster import wait_for
from tests.e2e.release import Release, answers
from toolkit.paths import ROOT
from toolkit.process import output, run


@dataclass
class LinksRelease(Release):
    """It is installed with a values file of tests/e2e, which names the Secret <name>-secrets and the host."""

    values: Path = field(kw_only=True)

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.stack.cluster.ports['https']}"

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", self.namespace]

    def options(self, *more: str) -> list[str]:
        return ["--values", str(self.values), "--set", f"config.APP_PUBLIC_URL={self.url}", *more]

    def rolled_out(self, *deployments: str) -> None:
        for name in deployments or (self.name,):
            run([*self.kubectl, "rollout", "status", f"deployment/{name}", "--timeout=90s"], log=f"e2e-{self.name}")

    def pods(self, component: str = "app") -> list[client.V1Pod]:
        """Also those that end."""
        selector = f"app.kubernetes.io/component={component}"
        found: list[client.V1Pod] = (
            client.CoreV1Api().list_namespaced_pod(self.namespace, label_selector=selector).items
        )
        return found

    def pod(self, component: str = "app") -> client.V1Pod:
        """One that is ready."""
        statuses = ((pod, pod.status.container_statuses or []) for pod in self.pods(component))
        return next(pod for pod, containers in statuses if any(each.ready for each in containers))

    def row(self, statement: str) -> list[str]:
        """The only row of an answer of its database."""
        return database.sql(self.stack, statement, self.name).strip().split("|")


@contextmanager
def released(
    stack: up.Stack, name: str, *, cache: int, more: Mapping[str, str] | None = None
) -> Iterator[LinksRelease]:
    """Installed while inside; its values are in tests/e2e/<name>-values.yaml, and `cache` is its database of Valkey.

    Its Secret has `more` beside what every release needs.
    """
    release = LinksRelease(stack, name, stack.image, values=ROOT / "tests" / "e2e" / f"{name}-values.yaml")
    log = f"e2e-{name}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    stack.cluster.apply(json.dumps(namespace), log)
    password = stack.platform.secret("data", "valkey", "password")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-secrets", "namespace": name},
        "stringData": {
            "app_database_url": database.make(stack, name),
            "app_valkey_url": f"valkey://:{password}@valkey.data.svc:6379/{cache}",
            # The issuer of the first service is good for this one.
            "jwks.json": stack.platform.secret(LINKS, f"{LINKS_RELEASE}-secrets", "jwks.json"),
            **(more or {}),
        },
    }
    stack.cluster.apply(json.dumps(secret), log)
    release.install(*release.options())
    wait_for("the route", lambda: answers(f"{release.url}/", stack), seconds=30)
    yield release
    output([*stack.cluster.kubectl, "delete", "namespace", name, "--wait"])
    database.drop(stack, name)
