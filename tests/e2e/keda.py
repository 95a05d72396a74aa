"""KEDA on the cluster: its programs, built from its Go module, with the manifests that come in the same module.

Without its webhooks, which refuse what a person writes wrongly.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from k8s import up
from offline.image_build import Built, build_image
from tests.judges import tools
from toolkit.process import output, run
from toolkit.programs import Programs, module_dir
from toolkit.progress import Progress
from toolkit.versions import Program

MODULE = tools.lock().modules["github.com/kedacore/keda/v2"]
PROGRAM = Program(name="keda", module=MODULE.path, packages=("cmd/operator", "cmd/adapter"), replace=True, seconds=900)
PARTS = ("crd", "general", "rbac", "manager", "metrics-server", "service_account")
# By the names that upstream's manifests have for them.
IMAGES = {"ghcr.io/kedacore/keda:main": "operator", "ghcr.io/kedacore/keda-metrics-apiserver:main": "adapter"}
DOCKERFILE = """\
FROM scratch
COPY operator /keda
COPY adapter /keda-adapter
USER 65532:65532
"""
LOG = "e2e-keda"


@contextmanager
def installed(stack: up.Stack, context: Path) -> Iterator[None]:
    """Running while inside; `context` is an empty folder."""
    image = _image(stack, context)
    manifests = "---\n".join(output([*stack.cluster.kubectl, "kustomize", _config() / part]) for part in PARTS)
    for name in IMAGES:
        assert name in manifests
        manifests = manifests.replace(name, f"{image.repository}@{image.digest}")
    stack.cluster.apply(manifests, LOG)
    try:
        for deployment in ("keda-operator", "keda-metrics-apiserver"):
            rollout = ["rollout", "status", f"deployment/{deployment}", "--timeout=180s"]
            run([*stack.cluster.kubectl, "--namespace=keda", *rollout], log=LOG)
        yield
    finally:
        run(
            [*stack.cluster.kubectl, "delete", "--ignore-not-found", "--wait", "--filename=-"], log=LOG, stdin=manifests
        )


def _config() -> Path:
    return module_dir(MODULE) / "config"


def _image(stack: up.Stack, context: Path) -> Built:
    lock = replace(tools.lock(), programs={PROGRAM.name: PROGRAM})
    with Progress() as progress:
        programs = Programs(lock, progress)
        programs.ensure(PROGRAM)
    for executable in PROGRAM.executables:
        shutil.copy(programs.path(executable), context)
    (context / "Dockerfile").write_text(DOCKERFILE)
    return build_image(stack.registry, context, tag=MODULE.version, name="keda")
