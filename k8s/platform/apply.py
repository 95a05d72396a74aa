"""Applies the folders beside this file with kustomize. Upstream manifests come from Go modules, at run time."""

import base64
import json
import secrets
import shutil
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from k8s import components
from k8s.kind.cluster import Cluster
from k8s.platform import pods
from offline.sources import Source
from toolkit.paths import PLATFORM, ROOT
from toolkit.process import CommandFailed, Failure, output, run, succeeds
from toolkit.programs import module_dir
from toolkit.progress import Progress
from toolkit.versions import Versions


class Platform:
    """The platform of one cluster. Applying again changes only what differs; what is left out is not taken away."""

    def __init__(
        self,
        cluster: Cluster,
        versions: Versions,
        progress: Progress,
        source: Source = Source.BUILD,
        without: Collection[str] = (),
    ) -> None:
        there = [c for c in components.load() if c.name not in without and (source is Source.PULL or not c.pulled)]
        self.components = {component.name: component for component in there}
        self.workloads = [(space, each) for c in there for space, names in c.workloads.items() for each in names]
        self.cluster = cluster
        self.versions = versions
        self.progress = progress
        self.log = f"platform-{cluster.name}"

    def apply(self) -> None:
        """Apply all components. Raises CommandFailed."""
        with self.progress.step("apply the platform", 20):
            with ThreadPoolExecutor() as pool:
                passwords = pool.submit(self._passwords)
                list(pool.map(self._apply, [c.name for c in self.components.values() if c.definitions]))
                passwords.result()
            established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]
            run([*self.cluster.kubectl, *established], log=self.log)
            with ThreadPoolExecutor() as pool:
                list(pool.map(self._apply, [c.name for c in self.components.values() if not c.definitions]))

    def wait(self) -> None:
        """Wait until everything runs; where something does not, say what its pods say."""
        with self.progress.step("wait for the platform", 60) as step:
            for position, (namespace, workload) in enumerate(self.workloads):
                step.detail = f"{workload.split('/')[1]}, {position} of {len(self.workloads)} ready"
                self._exists(namespace, workload)
                status = [
                    *self.cluster.kubectl,
                    "-n",
                    namespace,
                    "rollout",
                    "status",
                    workload,
                    "--timeout=180s",
                ]
                try:
                    run(status, log=self.log)
                except CommandFailed as error:
                    raise Failure(f"{error}\n{pods.say([*self.cluster.kubectl, '-n', namespace])}") from error
            step.detail = ""

    def render(self, component: str) -> str:
        """The manifests of a component as they are applied."""
        return output(["kubectl", "kustomize", self._stage(component)])

    def secret(self, namespace: str, name: str, key: str) -> str:
        """A value of a Secret in the cluster."""
        path = "{.data." + key.replace(".", "\\.") + "}"
        coded = output([*self.cluster.kubectl, "-n", namespace, "get", "secret", name, "-o", f"jsonpath={path}"])
        return base64.b64decode(coded).decode()

    def _stage(self, component: str) -> Path:
        """A copy of the component's folder with the upstream files in it, which kustomize may read only there."""
        about = next(each for each in components.load() if each.name == component)
        target = self.cluster.folder / "platform" / component
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(PLATFORM / component, target)
        for name in about.upstream:
            manifest = self.versions.manifests[name]
            source = module_dir(self.versions.modules[manifest.module])
            for file in manifest.files:
                destination = target / "upstream" / name / file
                destination.parent.mkdir(parents=True, exist_ok=True)
                if (source / file).is_dir():
                    # Contents alone: the module cache's folders may not be written to, and neither might the copies.
                    shutil.copytree(source / file, destination, copy_function=shutil.copyfile)
                    for path in [destination, *destination.rglob("*")]:
                        path.chmod(0o755 if path.is_dir() else 0o644)
                else:
                    shutil.copyfile(source / file, destination)
        if component == "cert-manager":
            (target / "chart.yaml").write_text(self._cert_manager(target / "upstream" / component))
        for name, folder in about.copies.items():
            shutil.copytree(ROOT / folder, target / name)
        if component == "ingress":
            (target / "cluster.env").write_text(f"PUBLIC_HTTPS_PORT={self.cluster.ports['https']}\n")
        return target

    def _cert_manager(self, upstream: Path) -> str:
        """The chart in the module has no version yet; releases are given theirs when they are packed."""
        chart = upstream / "deploy" / "charts" / "cert-manager"
        version = self.versions.modules[self.versions.manifests["cert-manager"].module].version
        about = chart / "Chart.yaml"
        about.write_text(about.read_text().replace("v0.0.0", version))
        options = [
            "--namespace",
            "cert-manager",
            "--set",
            "crds.enabled=true",
            "--set",
            "startupapicheck.enabled=false",
        ]
        return output(["helm", "template", "cert-manager", chart, *options])

    def _apply(self, component: str) -> None:
        self.cluster.apply(self.render(component), self.log)

    def _passwords(self) -> None:
        self._secret("data", "postgresql", {"password": secrets.token_urlsafe(24)})
        password = secrets.token_urlsafe(24)
        conf = f'requirepass {password}\nsave ""\nmaxmemory 96mb\nmaxmemory-policy allkeys-lru\n'
        self._secret("data", "valkey", {"password": password, "valkey.conf": conf})

    def _secret(self, namespace: str, name: str, values: dict[str, str]) -> None:
        """Make a Secret unless there is one: a database keeps the password it was made with."""
        kubectl = [*self.cluster.kubectl, "-n", namespace]
        if succeeds([*kubectl, "get", "secret", name]):
            return
        if not succeeds([*self.cluster.kubectl, "get", "namespace", namespace]):
            run([*self.cluster.kubectl, "create", "namespace", namespace], log=self.log)
        # By standard input: neither a log nor a list of processes shows the values.
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
        run([*kubectl, "create", "-f", "-"], log=self.log, stdin=json.dumps(manifest))

    def _exists(self, namespace: str, workload: str) -> None:
        """Wait for an object that a controller makes, as the operator makes Prometheus's StatefulSet."""
        wait = [*self.cluster.kubectl, "-n", namespace, "wait", "--for=create", workload, "--timeout=90s"]
        run(wait, log=self.log)
