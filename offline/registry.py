"""The local image registry that every node asks before any other. Its content is the cache of what was built."""

import time
from http import HTTPStatus

import httpx

from toolkit import containers, project
from toolkit.paths import cache
from toolkit.process import Failure, output, run, succeeds
from toolkit.progress import Progress

NAME = f"{project.NAME}-registry"
NETWORK = "kind"
LABEL = f"{project.NAME}=registry"
INTERNAL = f"http://{NAME}:5000"  # as the nodes reach it
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


class Registry:
    """One registry for all clusters of this host, on a port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        # One for all that is asked: each client reads the system's certificates, for longer than the answer takes. It
        # keeps no connections, which nobody would close.
        self._web = httpx.Client(timeout=10, limits=httpx.Limits(max_keepalive_connections=0))

    @property
    def _api(self) -> str:
        """https://distribution.github.io/distribution/spec/api/."""
        return f"http://{self.host}/v2"

    def ensure(self, image: str, progress: Progress) -> None:
        """Start it unless it runs, and put it on the network of kind's nodes."""
        found = find()
        if found is None:
            self._start(image)
        elif found.state != "running":
            with progress.step("start the local registry again") as step:
                step.detail = found.trouble().rstrip(".")
                run(["docker", "rm", "--force", NAME], log="registry")
                self._start(image)
        else:
            containers.mend([found], progress, log="registry")
            self.port = found.published[0].port
            self.host = f"127.0.0.1:{self.port}"
        if not succeeds(["docker", "network", "inspect", NETWORK]):
            # As kind would make it; it takes an existing one.
            masquerade = "com.docker.network.bridge.enable_ip_masquerade=true"
            mtu = output(
                [
                    "docker",
                    "network",
                    "inspect",
                    "bridge",
                    "--format",
                    '{{index .Options "com.docker.network.driver.mtu"}}',
                ]
            ).strip()
            options = ["--opt", masquerade, "--opt", f"com.docker.network.driver.mtu={mtu or 1500}"]
            run(
                ["docker", "network", "create", "--driver", "bridge", "--label", LABEL, *options, NETWORK],
                log="registry",
            )
        if NETWORK not in output(["docker", "inspect", NAME, "--format", "{{json .NetworkSettings.Networks}}"]):
            run(["docker", "network", "connect", NETWORK, NAME], log="registry")
        self._wait()

    def digest(self, repository: str, tag: str) -> str | None:
        """The digest of a manifest, or None if there is none."""
        answer = self._web.head(f"{self._api}/{repository}/manifests/{tag}", headers={"Accept": MANIFESTS})
        return answer.headers["Docker-Content-Digest"] if answer.status_code == HTTPStatus.OK else None

    def config(self, repository: str, reference: str) -> dict[str, object]:
        """An image's configuration (https://github.com/opencontainers/image-spec/blob/main/config.md)."""
        base = f"{self._api}/{repository}"
        manifest = self._web.get(f"{base}/manifests/{reference}", headers={"Accept": MANIFESTS}).json()
        blob: dict[str, object] = self._web.get(f"{base}/blobs/{manifest['config']['digest']}").json()
        return blob

    def _start(self, image: str) -> None:
        storage = cache() / "registry"
        storage.mkdir(exist_ok=True)
        publish = f"127.0.0.1:{self.port}:5000"
        argv = ["docker", "run", "--detach", "--name", NAME, "--label", LABEL, "--publish", publish]
        argv += ["--restart", "unless-stopped"]  # with the engine, as kind's nodes do
        run([*argv, "--volume", f"{storage}:/var/lib/registry", image], log="registry")

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if self._web.get(f"{self._api}/", timeout=2).status_code == HTTPStatus.OK:
                    return
            except httpx.HTTPError:
                pass  # not yet
            time.sleep(0.1)
        raise Failure(f"The local registry does not answer at {self.host}: see `docker logs {NAME}`.")


def find() -> containers.Container | None:
    """Its container, running or not."""
    if not succeeds(["docker", "container", "inspect", NAME]):
        return None
    return containers.look([NAME])[0]


def remove() -> None:
    """Remove the registry's container, and the network if we made it and nobody is on it. The content stays."""
    if succeeds(["docker", "container", "inspect", NAME]):
        run(["docker", "rm", "--force", NAME], log="registry")
    ours = output(["docker", "network", "ls", "--quiet", "--filter", f"label={LABEL}"]).split()
    for network in ours:
        if output(["docker", "network", "inspect", network, "--format", "{{len .Containers}}"]).strip() == "0":
            run(["docker", "network", "rm", network], log="registry")
