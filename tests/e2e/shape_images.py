"""Images in the shape of public FastAPI projects (shapes/): one port, probes and metrics of their own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from delivery.image import reachable
from offline.image_build import Built, build_image
from offline.registry import Registry
from toolkit.paths import ROOT

FOLDER = Path(__file__).with_name("shapes")
NAMES = ("workers", "template", "shell")


def build(registry: Registry, context: Path, *, versions: Sequence[str] = ("1",)) -> dict[str, dict[str, Built]]:
    """Each image in each version, by its name and version; `context` is an empty folder."""
    shutil.copytree(FOLDER, context, dirs_exist_ok=True)
    shutil.copy(ROOT / "requirements" / "shapes.txt", context)

    def built(target: str, version: str, *options: str) -> Built:
        options = (f"--target={target}", f"--build-arg=VERSION={version}", *options)
        return build_image(registry, context, tag=version, name=f"shape-{target}", options=options)

    base = built("base", "0")
    upon = f"--build-arg=BASE={reachable(f'{base.repository}@{base.digest}')}"
    return {name: {version: built(name, version, upon) for version in versions} for name in NAMES}
