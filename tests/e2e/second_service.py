"""A second service, made from the template, on the cluster beside the first: images, namespace and release."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from k8s import up
from k8s.certificates import ensure_server
from keel import new
from offline.image_build import Built, build_image
from tests.e2e import database
from tests.new import snapshots
from toolkit.paths import ROOT
from toolkit.process import output, run

NAME = "bookings"
HOST = f"{NAME}.gateway.localhost"
LOG = "e2e-second-service"
# What the local platform has, as k8s/environments/local.yaml says of the first service.
VALUES = f"""\
config:
  APP_RATE_LIMIT_ADDRESS_PER_MINUTE: "100000"
  APP_TRUSTED_PROXIES: 10.244.0.0/16
ingress:
  hosts:
    - host: {HOST}
  tls:
    - secretName: {NAME}-tls
      hosts:
        - {HOST}
"""


@dataclass
class SecondService:
    """Its folder, and what is done with it. Every method raises CommandFailed where a command fails."""

    stack: up.Stack
    folder: Path
    token_key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.token_key = self.folder / "dev-key.json"

    @property
    def source(self) -> Path:
        return self.folder / NAME

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.stack.cluster.ports['https']}"

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", NAME]

    def make(self) -> None:
        """As `make new NAME=bookings` does."""
        template = snapshots.take(self.folder / "template-repository")
        new.new(NAME, self.source, str(template), "HEAD", {})

    def image(self, version: str) -> Built:
        """The image of its source with this version."""
        file = self.source / NAME / "__init__.py"
        docstring, _, _ = file.read_text().partition("\n\n")
        file.write_text(f'{docstring}\n\n__version__ = "{version}"\n')
        return build_image(self.stack.registry, self.source, tag=version, name=NAME)

    def prepare(self) -> None:
        """A namespace in which only what is restricted may run, with a database and a certificate."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self._apply({"kind": "Namespace", "metadata": {"name": NAME, "labels": labels}})
        cache = self.stack.platform.secret("data", "valkey", "password")
        self._secret(
            f"{NAME}-secrets",
            "Opaque",
            {
                "app_database_url": database.make(self.stack, NAME),
                "app_valkey_url": f"valkey://:{cache}@valkey.data.svc:6379/2",
                "jwks.json": self._token("--jwks"),
            },
        )
        authority = self.stack.service.authority
        pair = ensure_server(self.folder, "tls", [HOST], authority)
        values = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
        self._secret(f"{NAME}-tls", "kubernetes.io/tls", {name: file.read_text() for name, file in values.items()})

    def upgrade(self, image: Built) -> None:
        """Install it, or upgrade it to an image, with the values that it was made with."""
        own = self.folder / "platform.yaml"
        own.write_text(VALUES)
        deploy = self.source / "deploy"
        run(
            [
                *(*self.stack.cluster.helm, "upgrade", "--install", NAME, str(ROOT / "charts" / "fastapi-service")),
                *("--namespace", NAME, "--wait", "--timeout=180s"),
                *(
                    "--values",
                    str(deploy / "domains.yaml"),
                    "--values",
                    str(deploy / "common.yaml"),
                    "--values",
                    str(deploy / "local.yaml"),
                    "--values",
                    str(own),
                ),
                *("--set", f"image.repository={image.repository}", "--set", f"image.digest={image.digest}"),
                *("--set", f"config.APP_PUBLIC_URL={self.url}"),
            ],
            log=LOG,
        )

    def test(self) -> None:
        """Run `helm test`."""
        run([*self.stack.cluster.helm, "test", NAME, "--namespace", NAME, "--timeout=120s"], log=LOG)

    def token(self) -> str:
        """One with all scopes that its routes ask for."""
        return self._token("--expires-in=3600")

    def remove(self) -> None:
        """Everything of it on the cluster."""
        delete = [*self.stack.cluster.kubectl, "delete", "--ignore-not-found", "--wait"]
        output([*delete, "namespace", NAME])
        database.drop(self.stack, NAME)

    def _token(self, *options: str) -> str:
        """What its own command line says, as where it was installed."""
        issuer = {"APP_JWT_ISSUER": f"https://issuer.{NAME}.localhost"}
        argv = [sys.executable, "-m", NAME, "token", "--key", str(self.token_key), *options]
        return output(argv, cwd=self.source, env=issuer).strip()

    def _secret(self, name: str, kind: str, values: dict[str, str]) -> None:
        self._apply(
            {"kind": "Secret", "type": kind, "metadata": {"name": name, "namespace": NAME}, "stringData": values}
        )

    def _apply(self, made: dict[str, object]) -> None:
        self.stack.cluster.apply(json.dumps({"apiVersion": "v1", **made}), LOG)
