"""podinfo's program, built from its Go module, and the chart that comes in the same module."""

import shutil
from pathlib import Path

from offline.image_build import Built, build_image
from offline.registry import Registry
from toolkit.programs import Programs, module_dir
from toolkit.progress import Progress
from toolkit.versions import Module, Program, Versions

RELEASE = "6.9.2"
# The commit of that release: Go knows no tag of a module whose path does not end in /v6.
MODULE = Module(
    "github.com/stefanprodan/podinfo",
    "v1.8.1-0.20250910200901-e86405a8674e",
    "h1:ikpMMm5HbQT/1DehrPM+Lpwk3WAw/1Hg540eR+jsXus=",
)
PROGRAM = Program(name="podinfo", module=MODULE.path, packages=("cmd/podinfo", "cmd/podcli"), seconds=60)
# As upstream's own, without the Linux that is around it there.
DOCKERFILE = """\
FROM scratch
COPY podinfo /home/app/podinfo
COPY podcli /usr/local/bin/podcli
COPY ui /home/app/ui
ENV PATH=/usr/local/bin
WORKDIR /home/app
USER 100:101
CMD ["./podinfo"]
"""


def chart() -> Path:
    return module_dir(MODULE) / "charts" / "podinfo"


def image(registry: Registry, context: Path) -> Built:
    """Built in `context`, an empty folder, and pushed."""
    lock = Versions(
        modules={MODULE.path: MODULE},
        programs={PROGRAM.name: PROGRAM},
        tools={},
        base={},
        images=(),
        manifests={},
    )
    with Progress() as progress:
        programs = Programs(lock, progress)
        programs.ensure(PROGRAM)
    for executable in ("podinfo", "podcli"):
        shutil.copy(programs.path(executable), context)
    shutil.copytree(module_dir(MODULE) / "ui", context / "ui", copy_function=shutil.copyfile)
    (context / "Dockerfile").write_text(DOCKERFILE)
    return build_image(registry, context, tag=RELEASE, name="podinfo")
