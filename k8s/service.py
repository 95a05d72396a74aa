"""The service on the local cluster: its image, its secrets, and the Helm release."""

import json
import shlex
import ssl
import sys
import time
from typing import Any

import httpx
import yaml

from k8s import components, facts
from k8s.certificates import Pair, ensure_authority, ensure_server
from k8s.kind.cluster import Cluster
from k8s.platform import pods
from k8s.platform.apply import Platform
from k8s.release import HelmRelease
from offline.image_build import Built
from toolkit import namespace
from toolkit.paths import CHART, PLATFORM, ROOT
from toolkit.process import CommandFailed, Failure, output, run
from toolkit.progress import Progress

RELEASE = NAMESPACE = "links"
HOST = "links.localhost"
GATEWAY_HOST = "gateway.localhost"
ASKED = 10  # times each request, so that each pod is
SERVED_SECONDS = 120
ENVIRONMENTS = ROOT / "k8s" / "environments"
# The first is what the domains bring.
VALUES = [ENVIRONMENTS / name for name in ("domains.yaml", "local.yaml")]


class LocalRelease:
    """The release `links` in the namespace `links` of one cluster."""

    def __init__(self, cluster: Cluster, platform: Platform, progress: Progress) -> None:
        self.cluster = cluster
        self.platform = platform
        self.progress = progress
        self.log = f"service-{cluster.name}"
        self.url = f"https://{HOST}:{cluster.ports['https']}"
        self.dev_key = cluster.folder / "dev-key.json"
        self.release = HelmRelease([*cluster.helm, "--namespace", NAMESPACE], RELEASE, self.log)

    @property
    def authority(self) -> Pair:
        return ensure_authority(self.cluster.folder / "ca")

    def prepare(self) -> None:
        """Namespace, certificate, and the Secret that the release mounts. Changes only what differs."""
        with self.progress.step("prepare namespace, certificate and secrets"):
            if "cert-manager" in self.platform.components:
                self._issuer()
            password = self.platform.secret("data", "postgresql", "password")
            cache_password = self.platform.secret("data", "valkey", "password")
            values = {
                "app_database_url": f"postgresql://links:{password}@postgresql.data.svc:5432/links",
                "app_valkey_url": f"valkey://:{cache_password}@valkey.data.svc:6379/0",
                "jwks.json": self._app("token", "--jwks"),
            }
            self._apply(
                namespace.manifest(NAMESPACE),
                self._certificate(NAMESPACE, "links-tls", [HOST]),
                # Of another name: the ingress must not be able to answer for the service with the gateway's.
                self._certificate("ingress", "demo-tls", [GATEWAY_HOST, f"*.{GATEWAY_HOST}"]),
                _secret(NAMESPACE, "links-secrets", values),
            )

    def upgrade_command(self, image: Built, *extra: str) -> list[str]:
        """The command that installs or upgrades the release, and takes it back when it does not become ready."""
        settings = {"image.repository": image.repository, "image.digest": image.digest, **facts.config(self.config)}
        words = [word for key, value in settings.items() for word in ("--set-string", f"{key}={value}")]
        command = [*self.cluster.helm, "upgrade", "--install", RELEASE, str(CHART), "--namespace", NAMESPACE]
        # What somebody has changed by hand meanwhile is the release's again, as with the rest of the cluster.
        files = [f"--values={file}" for file in VALUES]
        return [*command, *files, *words, "--force-conflicts", "--wait", "--timeout", "180s", *extra]

    @property
    def config(self) -> dict[str, str]:
        """The service's settings that only this cluster knows."""
        lacking = [each for each in components.load() if each.name not in self.platform.components]
        return {"APP_PUBLIC_URL": self.url, **{name: value for each in lacking for name, value in each.without.items()}}

    def deploy(self, image: Built) -> None:
        """Install or upgrade the release and wait until it is ready. Raises CommandFailed, with the pods' own words."""
        with self.progress.step("install the service", 30):
            self.release.mend_interrupted()
            try:
                run(self.upgrade_command(image, "--rollback-on-failure"), log=self.log)
            except CommandFailed as error:
                raise Failure(f"{error}\n{self.what_pods_say()}") from error

    def history(self) -> list[dict[str, Any]]:
        """The release's revisions as Helm has them, the latest last; empty where there is no release."""
        return self.release.history()

    def wait_served(self) -> None:
        """Wait until the public address answers over TLS that the demo authority vouches for, and its database, too.

        Pods stay ready while the database is away, and so may be while it starts.
        """
        deadline = time.monotonic() + SERVED_SECONDS
        with self.progress.step("reach the service over TLS"):
            while last := self._unserved():
                if time.monotonic() > deadline:
                    raise Failure(
                        f"{self.url} did not answer within {SERVED_SECONDS} s ({last}): "
                        "see `kubectl -n ingress logs deploy/traefik`."
                    )
                time.sleep(0.3)

    def _unserved(self) -> str:
        """What is wrong with the answers; empty if nothing is. Some of them only the database knows."""
        wanted = yaml.safe_load(VALUES[0].read_text(encoding="utf-8"))["tests"]["requests"]
        try:
            for each in wanted * ASKED:
                if (status := self.get(each["path"])) != each["status"]:
                    return f"the last answer to {each['path']} was {status}"
        except httpx.HTTPError as error:
            return str(error)
        return ""

    def get(self, path: str) -> int:
        """The status of a GET through the ingress, at 127.0.0.1, with the certificate verified for the host's name."""
        trust = ssl.create_default_context(cafile=self.authority.certificate)
        port = self.cluster.ports["https"]
        headers = {"Host": f"{HOST}:{port}"}
        url = f"https://127.0.0.1:{port}{path}"
        with httpx.Client(verify=trust, timeout=5) as client:
            return client.get(url, headers=headers, extensions={"sni_hostname": HOST}).status_code

    def what_pods_say(self) -> str:
        return pods.say([*self.cluster.kubectl, "-n", NAMESPACE])

    def token_command(self) -> str:
        """The command that prints a token which this release accepts."""
        settings = f"APP_JWT_ISSUER=https://issuer.{HOST} APP_JWT_AUDIENCE=links"
        python, key = shlex.quote(sys.executable), shlex.quote(str(self.dev_key))
        return f"cd {shlex.quote(str(ROOT))} && {settings} {python} -m app token --key {key}"

    def facts(self) -> dict[str, str]:
        """What scripts need to know, as in build/up.json."""
        ports = self.cluster.ports
        there = [name for c in self.platform.components.values() for name, port in c.ports.items() if port.label]
        return {
            "url": self.url,
            "plain": f"http://{HOST}:{ports['http']}",
            "ca": str(self.authority.certificate),
            "context": self.cluster.context,
            "namespace": NAMESPACE,
            "release": RELEASE,
            "token": self.token_command(),
            **{name: f"http://127.0.0.1:{ports[name]}" for name in there},
            **facts.config(self.config),
        }

    def _certificate(self, namespace: str, name: str, hosts: list[str]) -> dict[str, object]:
        pair = ensure_server(self.cluster.folder / "ca", name, hosts, self.authority)
        values = {
            "tls.crt": pair.certificate.read_text(),
            "tls.key": pair.key.read_text(),
            "ca.crt": self.authority.certificate.read_text(),
        }
        return _secret(namespace, name, values, kind="kubernetes.io/tls")

    def _issuer(self) -> None:
        """Let cert-manager issue in the demo authority's name."""
        pair = {"tls.crt": self.authority.certificate.read_text(), "tls.key": self.authority.key.read_text()}
        self._apply(_secret("cert-manager", "demo-ca", pair, kind="kubernetes.io/tls"))
        wait = ["-n", "cert-manager", "rollout", "status", "deployment/cert-manager-webhook", "--timeout=120s"]
        run([*self.cluster.kubectl, *wait], log=self.log)
        self._apply(yaml.safe_load((PLATFORM / "cert-manager" / "issuer.yaml").read_text()))

    def _app(self, *arguments: str) -> str:
        return output([sys.executable, "-m", "app", *arguments, "--key", str(self.dev_key)], cwd=ROOT)

    def _apply(self, *manifests: dict[str, object]) -> None:
        """One after the other, in one call."""
        self.cluster.apply("\n---\n".join(map(json.dumps, manifests)), self.log)


def _secret(namespace: str, name: str, values: dict[str, str], kind: str = "Opaque") -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": values}
