"""A namespace of its own, with a database of its own: what a bad release does there harms nobody."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from k8s import up
from k8s.certificates import ensure_server
from k8s.service import GATEWAY_HOST, VALUES
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback, trust_of
from toolkit.paths import ROOT
from toolkit.process import output

NAMESPACE = RELEASE = "delivery"
HOST = f"delivery.{GATEWAY_HOST}"
LOG = "e2e-delivery"
BAKE_SECONDS = 25
HERE = Path(__file__).parent


@dataclass
class Run:
    """A command of the delivery that goes on, or has ended."""

    process: "subprocess.Popen[str]"
    report: Path
    started: float = field(default_factory=time.monotonic)
    said: str = ""
    seconds: float = 0.0

    def end(self, seconds: float = 300) -> int:
        """Wait for its end; the exit code."""
        self.said, _ = self.process.communicate(timeout=seconds)
        self.seconds = time.monotonic() - self.started
        return self.process.returncode

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.report.read_text())
        return found


@dataclass
class World:
    """Commands and looks. `page` is the path of something in the release, once there is something. `be_gone`,
    `be_prepared` and `be_deployed` bring about where a scenario begins, and cost nothing where the one before has
    ended there."""

    stack: up.Stack
    folder: Path
    page: str = ""
    kubeconfig: Path | None = None
    """Whose rights the commands have; the administrator's at first."""

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.stack.cluster.ports['https']}"

    @property
    def authority(self) -> Path:
        return self.stack.service.authority.certificate

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", NAMESPACE]

    @property
    def environments(self) -> Path:
        return self.folder / "deploy.yaml"

    def write_environments(self, **changes: object) -> None:
        """One environment, `test`; staging and production of a team have the same settings."""
        test = {
            "context": self.stack.cluster.context,
            "namespace": NAMESPACE,
            "release": RELEASE,
            "values": [*map(str, VALUES), str(HERE / "values.yaml")],
            "set": {"config": {"APP_PUBLIC_URL": self.url}},
            "timeout": 90,
            "prometheus": {"namespace": "monitoring", "service": "prometheus", "port": 9090},
            "bake": {"seconds": BAKE_SECONDS, "every": 3},
            "smoke": {
                "connect": "127.0.0.1",
                "ca": str(self.authority),
                "plain": f"http://{HOST}:{self.stack.cluster.ports['http']}",
            },
        }
        self.environments.write_text(yaml.safe_dump({"test": {**test, **changes}}))

    def be_gone(self) -> None:
        """Nothing of it is there, not even the namespace."""
        if self.objects("namespace", f"--field-selector=metadata.name={NAMESPACE}"):
            self.remove()

    def be_prepared(self) -> None:
        """All is there that a release needs, and no release; the commands have a deployer's rights alone."""
        if self.kubeconfig is None or self._released:
            self.remove()
            self.make_namespace()
            self.make_secrets()
            self.become_deployer()

    def be_deployed(self, image: Built, token: str) -> None:
        """This image's release serves, with something to read; no other is on its way."""
        if not self._is_of(image):
            self.be_prepared()
            run = self.do("deploy", image, BAKE="5")
            assert run.process.returncode == 0, run.said
        wait_for("a settled release", self._settled, seconds=60)
        self.page = self.page or self.make_page(token)

    @property
    def _released(self) -> bool:
        """Whether Helm knows of any revision."""
        return bool(self.objects("secrets", f"--selector=owner=helm,name={RELEASE}"))

    def _is_of(self, image: Built) -> bool:
        """Whether the release is of this image, and nothing of it is half done."""
        if not self._released or self.history()[-1]["status"] != "deployed":
            return False
        found = self.objects("deployments")
        if len(found) > 1:
            return False  # with workers, or a canary
        (container,) = found[0]["spec"]["template"]["spec"]["containers"]
        return str(container["image"]).endswith(image.digest)

    def _settled(self) -> bool:
        (found,) = self.objects("deployments")
        status = found["status"]
        return bool(status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas"))

    def make_secrets(self) -> None:
        """A database with its user, the Secret that names it, and a certificate."""
        password = secrets.token_urlsafe(24)
        self._drop_database()
        self._sql(f"CREATE ROLE {RELEASE} LOGIN PASSWORD '{password}'")
        self._sql(f"CREATE DATABASE {RELEASE} OWNER {RELEASE}")
        cache = self.stack.platform.secret("data", "valkey", "password")
        key = ["--key", str(self.stack.service.dev_key)]
        self._secret(
            "delivery-secrets",
            "Opaque",
            {
                "app_database_url": f"postgresql://{RELEASE}:{password}@postgresql.data.svc:5432/{RELEASE}",
                "app_valkey_url": f"valkey://:{cache}@valkey.data.svc:6379/1",
                "jwks.json": output([sys.executable, "-m", "app", "token", "--jwks", *key], cwd=ROOT),
            },
        )
        authority = self.stack.service.authority
        pair = ensure_server(self.folder, "tls", [HOST], authority)
        values = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
        self._secret("delivery-tls", "kubernetes.io/tls", {name: file.read_text() for name, file in values.items()})

    def _drop_database(self) -> None:
        self._sql(f"DROP DATABASE IF EXISTS {RELEASE} WITH (FORCE)")
        self._sql(f"DROP ROLE IF EXISTS {RELEASE}")

    def _sql(self, statement: str) -> None:
        psql = ["exec", "--stdin", "statefulset/postgresql", "--", "psql", "--username=links", "--set=ON_ERROR_STOP=1"]
        output([*self.stack.cluster.kubectl, "--namespace=data", *psql], stdin=statement)

    def _secret(self, name: str, kind: str, values: dict[str, str]) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        made = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": values}
        self.stack.cluster.apply(json.dumps(made), LOG)

    def make_namespace(self) -> None:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        self.stack.cluster.apply(json.dumps(made), LOG)

    def become_deployer(self) -> None:
        """From now on the commands have the rights of k8s/environments/access/deployer.yaml, and no others."""
        self.stack.cluster.apply(self._rights(), LOG)
        token = output([*self.kubectl, "create", "token", "deployer", "--duration=2h"]).strip()
        cluster = yaml.safe_load(output([*self.kubectl, "config", "view", "--minify", "--raw"]))
        cluster["users"] = [{"name": "deployer", "user": {"token": token}}]
        cluster["contexts"][0]["context"]["user"] = "deployer"
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(cluster))

    def _rights(self) -> str:
        text = (ROOT / "k8s" / "environments" / "access" / "deployer.yaml").read_text()
        return text.replace("namespace: links", f"namespace: {NAMESPACE}")

    def remove(self) -> None:
        """Everything of it."""
        delete = [*self.stack.cluster.kubectl, "delete", "--ignore-not-found", "--wait"]
        output([*delete, "--filename=-"], stdin=self._rights())
        output([*delete, "namespace", NAMESPACE])
        self._drop_database()
        self.kubeconfig, self.page = None, ""

    def start(self, command: str, image: Built | None = None, **variables: str) -> Run:
        """As a pipeline does: a program with variables, and nobody at a terminal."""
        report = self.folder / f"{command}-{time.monotonic_ns()}.json"
        chosen = {"ENV": "test", **variables}
        if self.kubeconfig:
            chosen["KUBECONFIG"] = str(self.kubeconfig)
        if image:
            chosen["IMAGE"] = f"{image.repository}@{image.digest}"
        options = ["--environments", str(self.environments), "--report", str(report)]
        process = subprocess.Popen(
            [sys.executable, "-m", "delivery", command, *options],
            cwd=ROOT,
            env={**os.environ, **chosen},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return Run(process, report)

    def do(self, command: str, image: Built | None = None, **variables: str) -> Run:
        """The same, to its end."""
        run = self.start(command, image, **variables)
        run.end()
        return run

    @contextmanager
    def web(self) -> Iterator[httpx.Client]:
        trust = trust_of(self.authority)
        with httpx.Client(verify=trust, base_url=self.url, timeout=10, transport=Loopback(trust)) as client:
            yield client

    def make_page(self, token: str) -> str:
        """The path of something fresh in this release."""
        with self.web() as web:
            return SUBJECT.make(web, token)

    def versions(self) -> set[str]:
        """What twenty answers say."""
        with self.web() as web:
            return {web.get("/").json()["version"] for _ in range(20)}

    def load(self, page: str) -> Load:
        return Load(self.url + page, self.authority)

    def objects(self, kind: str, *options: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(output([*self.kubectl, "get", kind, *options, "--output=json"]))[
            "items"
        ]
        return items

    def holder(self) -> str | None:
        """Who holds the lock."""
        leases = self.objects("leases")
        return leases[0]["spec"].get("holderIdentity") if leases else None

    def history(self) -> list[dict[str, Any]]:
        helm = [*self.stack.cluster.helm, "--namespace", NAMESPACE, "history", RELEASE, "--output=json"]
        found: list[dict[str, Any]] = json.loads(output(helm))
        return found
