"""What is judged: the chart rendered with each file of values, as it would be sent to a cluster; and Dockerfiles.

Beside them stands something bad, in which every judge must find something, or it does not look.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import yaml

from tests.chart.helm import CHART, DIGEST, ENVIRONMENTS, IMAGE, ROOT, SCENARIOS, Object, helm, with_shared

HERE = Path(__file__).parent
BAD = "bad"  # the scenario of this name is not ours, and in no table
BAD_FILES = HERE / "bad"

FILES = {file.stem.removesuffix("-values"): file for file in (*SCENARIOS, *ENVIRONMENTS)}
NAMES = list(FILES)
DOCKERFILES = [
    ROOT / "Dockerfile",
    *sorted((ROOT / "offline").rglob("*Dockerfile")),
    *sorted(file for file in (ROOT / "tests").rglob("*Dockerfile") if BAD_FILES not in file.parents),
]


class Manifests:
    """The rendered scenarios, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cache  # noqa: B019  # there is one for the whole run
    def of(self, kubernetes: str) -> Path:
        """A folder with a file for each scenario, rendered for a version of Kubernetes."""
        folder = self.folder / kubernetes
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
            texts = list(pool.map(lambda item: rendered(item[1], kubernetes, namespace=item[0]), FILES.items()))
        for name, text in zip(FILES, texts, strict=True):
            if text:
                write(folder / f"{name}.yaml", text, namespace=name)
        write(folder / f"{BAD}.yaml", (BAD_FILES / "manifests.yaml").read_text(encoding="utf-8"), namespace=BAD)
        return folder

    @cache  # noqa: B019
    def objects(self, kubernetes: str) -> Path:
        """A folder for each scenario, with a file Kind=name.yaml for each object."""
        folder = self.folder / f"{kubernetes}-objects"
        for file in sorted(self.of(kubernetes).iterdir()):
            below = folder / file.stem
            below.mkdir(parents=True)
            for document, there in documents(file.read_text(encoding="utf-8")):
                with (below / f"{there['kind']}={there['metadata']['name']}.yaml").open("x", encoding="utf-8") as out:
                    out.write(document)
        return folder


def image_of(file: Path) -> list[str]:
    """What the command gives beside the values: an environment gets its image so, by digest."""
    digest = [f"--set=image.digest={DIGEST}"] if file in ENVIRONMENTS else []
    return [f"--set=image.repository={IMAGE['repository']}", *digest]


def rendered(file: Path, kubernetes: str, *, namespace: str, more: Sequence[str] = ()) -> str:
    """The manifests for a version of Kubernetes; none where the chart says that these values need a newer one."""
    options = [f"--namespace={namespace}", f"--kube-version={kubernetes}", *image_of(file), *more]
    # The release is named after the scenario too: judges that read them all at once tell them apart by their labels.
    values = [f"--values={each}" for each in with_shared(file)]
    done = helm("template", namespace, CHART, *values, *options)
    if done.returncode == 0:
        return done.stdout
    mistakes = [line for line in done.stderr.splitlines() if line.strip().startswith("- ")]
    too_old = [line for line in mistakes if re.search(rf"needs Kubernetes .*this is {re.escape(kubernetes)}\b", line)]
    if not mistakes or mistakes != too_old:
        raise ValueError(f"{file.name} cannot be rendered for Kubernetes {kubernetes}: {done.stderr}")
    return ""


def write(file: Path, text: str, *, namespace: str) -> None:
    placed_there = (placed(document, there, namespace) for document, there in documents(text))
    file.write_text("".join(f"---\n{each}" for each in placed_there), encoding="utf-8")


def documents(text: str) -> list[tuple[str, Object]]:
    """The documents of a file that say something: as they are written, and as they are read."""
    parts = re.split(r"^---.*\n", text, flags=re.MULTILINE)
    return [(part, there) for part in parts if (there := yaml.load(part, Loader=yaml.CSafeLoader))]


def placed(document: str, there: Object, namespace: str) -> str:
    """The document as Helm sends it: where it names no namespace, it is in the release's."""
    if "namespace" in there["metadata"]:
        return document
    return re.sub(r"^metadata:\n", f"metadata:\n  namespace: {namespace}\n", document, count=1, flags=re.MULTILINE)
