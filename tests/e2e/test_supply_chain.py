"""What is in the image, by what the registry holds; and what judges it, by the commands of the pipeline."""

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import Parser
from pathlib import Path, PurePosixPath

import httpx
import pytest

from delivery import image as images
from delivery import licences, sbom, scan
from delivery.__main__ import main
from k8s import up
from offline.registry import MANIFESTS

Package = tuple[str, str, str]  # kind, name, version
WHITEOUT = ".wh."
DOCUMENTS = "usr/share/doc"
SHORTEST_LICENCE = 500  # characters
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of make's, which are defaults of the commands."""
    for name in ("IMAGE", "NO_CACHE", "PARTIAL", "PLATFORM", "PLATFORMS", "REPOSITORY", "TAG"):
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


@dataclass
class Papers:
    """What the image says of its packages: texts by their path, and links with what they lead to."""

    texts: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def licence(self, package: str) -> str:
        """The text that comes with a Debian package; '' for none."""
        place = f"{DOCUMENTS}/{package}"
        return self.texts.get(f"{DOCUMENTS}/{self.links.get(place, package)}/copyright", "")


@pytest.fixture(scope="module")
def papers(stack: up.Stack) -> Papers:
    found = Papers()
    for layer in layers(stack):
        for entry in layer:
            path = PurePosixPath(entry.name)
            assert not path.name.startswith(WHITEOUT), f"{path} takes away what a lower layer has"
            if entry.issym():
                found.links[str(path)] = entry.linkname
            elif is_paper(path) and (file := layer.extractfile(entry)):
                found.texts[str(path)] = file.read().decode()
    return found


def is_paper(path: PurePosixPath) -> bool:
    return is_record(path) or path.match(f"{DOCUMENTS}/*/copyright") or str(path) == AUTHORITIES


def is_record(path: PurePosixPath) -> bool:
    """Whether it says of a package, of Debian's or of Python's, that it is there."""
    distribution = path.parent.suffix in {".dist-info", ".egg-info"} and path.name in {"METADATA", "PKG-INFO"}
    return path.parent.name == "status.d" or distribution


@pytest.fixture(scope="module")
def installed(papers: Papers) -> set[Package]:
    found = set()
    for path, text in papers.texts.items():
        if is_record(PurePosixPath(path)):
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


def test_the_authorities_are_a_package_of_the_list(papers: Papers, installed: set[Package]) -> None:
    """Which authorities are trusted changes, and an image that trusts an old list is to be found."""
    assert papers.texts[AUTHORITIES].count("BEGIN CERTIFICATE") > 100
    assert "ca-certificates" in {name for kind, name, _ in installed if kind == "deb"}


def test_every_debian_package_comes_with_its_licence(papers: Papers, installed: set[Package]) -> None:
    """Some packages only have a link to the text of another one."""
    packages = {name for kind, name, _ in installed if kind == "deb"}
    assert {"libgcc-s1", "libstdc++6", "libpython3.13-stdlib"} <= packages
    assert [name for name in sorted(packages) if len(papers.licence(name)) < SHORTEST_LICENCE] == []
    assert "GCC Runtime Library Exception" in " ".join(papers.licence("libstdc++6").split())


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


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_same_inputs_give_the_same_digest(
    stack: up.Stack,
    image: str,
    report: Callable[..., None],
    delivered: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Built once more with nothing from any cache."""
    assert main(["image", "--tag=made", "--no-cache"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.strip() == image
    facts = json.loads(images.FACTS.read_text())
    assert facts == {"repository": stack.image.repository, "digest": stack.image.digest}
    assert stack.registry.digest("links", "made") == stack.image.digest
    for put in (report, delivered):
        put("a second build without a cache has the same digest", note=stack.image.digest[:19])


def test_make_image_pushes_to_another_registry_too(
    stack: up.Stack, delivered: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    repository = f"{stack.registry.host}/elsewhere/links"
    assert main(["image", f"--repository={repository}", "--tag=1.0"]) == 0, capsys.readouterr()
    assert capsys.readouterr().out.strip() == f"{repository}@{stack.image.digest}"
    assert stack.registry.digest("elsewhere/links", "1.0") == stack.image.digest
    delivered("make image pushes to a named repository")
