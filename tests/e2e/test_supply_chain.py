"""What is in the image, by what the registry holds; and what judges it, by the commands of the pipeline."""

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from email.parser import Parser
from pathlib import Path, PurePosixPath

import httpx
import pytest

from delivery import image as images
from delivery import licences, sbom, scan
from delivery.__main__ import main
from k8s import up
from k8s.kind.registry import MANIFESTS

Package = tuple[str, str, str]  # kind, name, version
WHITEOUT = ".wh."


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of make's, which are defaults of the commands."""
    for name in ("IMAGE", "PARTIAL", "PLATFORM", "PLATFORMS", "REPOSITORY", "TAG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def image(stack: up.Stack) -> str:
    """The service's image by the name that the cluster knows."""
    return f"{stack.image.repository}@{stack.image.digest}"


def layers(stack: up.Stack) -> Iterator[tarfile.TarFile]:
    """The image's layers as the registry has them, the lowest first."""
    base = f"http://{stack.registry.host}/v2/links"
    headers = {"Accept": MANIFESTS}
    manifest = httpx.get(f"{base}/manifests/{stack.image.digest}", headers=headers, timeout=10).json()
    for layer in manifest["layers"]:
        blob = httpx.get(f"{base}/blobs/{layer['digest']}", timeout=60).content
        with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
            yield archive


@pytest.fixture(scope="module")
def records(stack: up.Stack) -> dict[str, str]:
    """Every record of a package in the image: its path and text."""
    found: dict[str, str] = {}
    for layer in layers(stack):
        for entry in layer:
            path = PurePosixPath(entry.name)
            if path.name.startswith(WHITEOUT):  # it takes away what lower layers have
                gone = str(path.with_name(path.name.removeprefix(WHITEOUT)))
                found = {name: text for name, text in found.items() if not name.startswith(gone)}
            is_record = path.parent.name == "status.d" or (
                path.parent.suffix in {".dist-info", ".egg-info"} and path.name in {"METADATA", "PKG-INFO"}
            )
            if is_record and (file := layer.extractfile(entry)):
                found[entry.name] = file.read().decode()
    return found


@pytest.fixture(scope="module")
def installed(records: dict[str, str]) -> set[Package]:
    found = set()
    for path, text in records.items():
        fields = Parser().parsestr(text)
        debian = "status.d" in path
        name, version = fields["Package" if debian else "Name"], fields["Version"]
        found.add(("deb", name, version) if debian else ("pypi", re.sub(r"[-_.]+", "-", name).lower(), version))
    return found


def test_the_sbom_lists_every_installed_distribution(
    image: str, installed: set[Package], tmp_path: Path, delivered: Callable[..., None]
) -> None:
    made = sbom.write(image, tmp_path)
    listed = {(p.kind, p.name, p.version) for p in sbom.read(made["cyclonedx"]).packages}
    assert {kind for kind, _, _ in installed} == {"deb", "pypi"}
    assert listed == installed
    in_spdx = {
        (kind, name, version)
        for package in json.loads(made["spdx-json"].read_text())["packages"]
        for reference in package.get("externalRefs", [])
        if reference["referenceType"] == "purl"
        for kind, name, version in [key(reference["referenceLocator"])]
        if kind != "oci"  # the image itself
    }
    assert in_spdx == installed
    counts = [sum(kind == wanted for kind, _, _ in installed) for wanted in ("deb", "pypi")]
    delivered("the SBOM lists what the image holds", note=f"{counts[0]} Debian packages, {counts[1]} distributions")


def key(purl: str) -> Package:
    found = sbom.package({"purl": purl})
    return found.kind, found.name, found.version


def test_no_high_finding_could_be_mended(
    image: str, delivered: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", image, "--partial"]) == 0, capsys.readouterr()
    content = json.loads(scan.REPORT.read_text())
    assert content["counts"]["fixable and high"] == 0
    asked = [f"{s['name']} ({s['packages']})" for s in content["sources"] if s["packages"]]
    silent = [s["name"] for s in content["sources"] if not s["packages"]]
    told = [f"asked: {', '.join(asked)}", *([f"could not be asked: {', '.join(silent)}"] if silent else [])]
    delivered("no fixable high finding in the image", note="; ".join(told))
    # Where a source is missing, the pipeline's own call says so instead of passing.
    assert main(["scan", image]) == (1 if content["unjudged"] else 0)
    assert ("No source has judged" in capsys.readouterr().err) is bool(content["unjudged"])


def test_every_licence_is_on_the_list(
    image: str, delivered: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["licences", image]) == 0, capsys.readouterr()
    packages = json.loads(licences.REPORT.read_text())["packages"]
    delivered("every licence in the image is on the list", note=f"{len(packages)} packages")


@pytest.mark.timeout(300)
def test_make_image_gives_the_digest_that_runs(
    stack: up.Stack, image: str, delivered: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "--tag=made"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.strip() == image
    facts = json.loads(images.FACTS.read_text())
    assert facts == {"repository": stack.image.repository, "digest": stack.image.digest}
    assert stack.registry.digest("links", "made") == stack.image.digest
    delivered("make image gives the digest that runs", note=stack.image.digest[:19])


def test_make_image_pushes_to_another_registry_too(
    stack: up.Stack, delivered: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    repository = f"{stack.registry.host}/elsewhere/links"
    assert main(["image", f"--repository={repository}", "--tag=1.0"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.strip() == f"{repository}@{stack.image.digest}"
    assert stack.registry.digest("elsewhere/links", "1.0") == stack.image.digest
    delivered("make image pushes to a named repository")
