"""Images and charts are signed with a key, and refused unless they are: unsigned, by another key, or tampered with.

Against the local registry, and nothing else: the way to Sigstore's services is closed.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from app import __version__
from delivery import tools
from k8s import up
from tests.make import make
from toolkit.paths import BUILD
from toolkit.process import CommandFailed, output

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
PASSWORD = "of the tests alone"
Delivered = Callable[..., None]


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens at this proxy. Go asks no proxy for 127.0.0.1."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("COSIGN_PASSWORD", PASSWORD)


@dataclass(frozen=True)
class Pair:
    private: str
    public: str


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Two pairs of keys: ours, and another's."""
    found = []
    for name in ("ours", "others"):
        folder = tmp_path_factory.mktemp(name)
        output(
            [tools.program("cosign"), "generate-key-pair"], cwd=folder, env={"COSIGN_PASSWORD": "of the tests alone"}
        )
        found.append(Pair(str(folder / "cosign.key"), str(folder / "cosign.pub")))
    return found


@dataclass(frozen=True)
class Repository:
    """A repository of the local registry, spoken to as the distribution specification says."""

    host: str
    name: str

    @property
    def url(self) -> str:
        return f"http://{self.host}/v2/{self.name}"

    def image(self, digest: str) -> str:
        return f"{self.host}/{self.name}@{digest}"

    def push(self, says: str) -> str:
        """An image of no layers whose configuration says something; returns its digest."""
        nothing = {"type": "layers", "diff_ids": []}
        config = {"architecture": "amd64", "os": "linux", "rootfs": nothing, "config": {"Labels": {"says": says}}}
        blob = self.blob(json.dumps(config).encode())
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **blob}, "layers": []}
        return self.manifest(manifest, tag="latest")

    def blob(self, content: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        started = httpx.post(f"{self.url}/blobs/uploads/", trust_env=False)
        place = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest})
        httpx.put(place, content=content, trust_env=False).raise_for_status()
        return {"digest": digest, "size": len(content)}

    def manifest(self, content: dict[str, Any], tag: str = "") -> str:
        body = json.dumps(content).encode()
        reference = tag or f"sha256:{hashlib.sha256(body).hexdigest()}"
        kind = {"Content-Type": content["mediaType"]}
        answer = httpx.put(f"{self.url}/manifests/{reference}", content=body, headers=kind, trust_env=False)
        return str(answer.raise_for_status().headers["Docker-Content-Digest"])

    def get(self, kind: str, reference: str) -> bytes:
        accept = {"Accept": f"{INDEX}, {MANIFEST}"}
        return httpx.get(f"{self.url}/{kind}/{reference}", headers=accept, trust_env=False).raise_for_status().content


@pytest.fixture(scope="module")
def repository(stack: up.Stack) -> Repository:
    """One of this run alone: the registry keeps what it was given, and its signatures."""
    return Repository(stack.registry.host, f"signatures-{uuid4().hex}")


@pytest.fixture
def image(repository: Repository, request: pytest.FixtureRequest) -> str:
    """A fresh image that nobody has signed."""
    return repository.image(repository.push(request.node.name))


def refused(image: str, key: str) -> str:
    """What is said of an image that the verify step refuses."""
    with pytest.raises(CommandFailed) as error:
        make("verify", IMAGE=image, KEY=key)
    return str(error.value)


def test_an_image_signed_with_the_key_is_taken(image: str, pairs: list[Pair], delivered: Delivered) -> None:
    make("sign", IMAGE=image, KEY=pairs[0].private)
    assert make("verify", IMAGE=image, KEY=pairs[0].public) == f"{image} is signed by {pairs[0].public}.\n"
    delivered("a signed image is taken")


def test_an_unsigned_image_is_refused(image: str, pairs: list[Pair], delivered: Delivered) -> None:
    assert "is not signed" in refused(image, pairs[0].public)
    delivered("an unsigned image is refused")


def test_an_image_signed_with_another_key_is_refused(image: str, pairs: list[Pair], delivered: Delivered) -> None:
    make("sign", IMAGE=image, KEY=pairs[1].private)
    assert "is signed, but not by" in refused(image, pairs[0].public)
    delivered("an image signed with another key is refused")


def test_another_signature_beside_ours_does_no_harm(image: str, pairs: list[Pair]) -> None:
    make("sign", IMAGE=image, KEY=pairs[1].private)
    make("sign", IMAGE=image, KEY=pairs[0].private)
    make("verify", IMAGE=image, KEY=pairs[0].public)


def test_another_image_of_the_same_name_is_refused(
    image: str, repository: Repository, pairs: list[Pair], delivered: Delivered
) -> None:
    make("sign", IMAGE=image, KEY=pairs[0].private)
    assert "is not signed" in refused(repository.image(repository.push("another")), pairs[0].public)
    delivered("another image of a signed one's name is refused")


@pytest.mark.parametrize("rewritten", [False, True], ids=["moved", "rewritten"])
def test_a_signature_is_of_one_image(
    image: str, repository: Repository, pairs: list[Pair], delivered: Delivered, *, rewritten: bool
) -> None:
    """It is moved to another image as it is, and with that image's digest written into what it says."""
    make("sign", IMAGE=image, KEY=pairs[0].private)
    signed = image.partition("@")[2]
    other = repository.push(f"the other, {rewritten}")
    move_signature(repository, signed, other, rewritten=rewritten)
    said = refused(repository.image(other), pairs[0].public)
    assert "is signed, but not by" in said or "could not be verified" in said
    assert "not there" not in said, "the signature was not found: nothing was proven"
    delivered(f"a signature that was {'rewritten' if rewritten else 'moved'} is refused")


def move_signature(repository: Repository, signed: str, other: str, *, rewritten: bool) -> None:
    """Make the signature of one image refer to another, as whoever may write to the registry can."""
    index = json.loads(repository.get("manifests", signed.replace(":", "-")))
    (entry,) = index["manifests"]
    manifest = json.loads(repository.get("manifests", entry["digest"]))
    manifest["subject"]["digest"] = other
    manifest["subject"]["size"] = len(repository.get("manifests", other))
    if rewritten:
        (layer,) = manifest["layers"]
        bundle = json.loads(repository.get("blobs", layer["digest"]))
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"])
        changed = payload.replace(signed.removeprefix("sha256:").encode(), other.removeprefix("sha256:").encode())
        assert changed != payload
        envelope["payload"] = base64.b64encode(changed).decode()
        layer.update(repository.blob(json.dumps(bundle).encode()))
    entry["digest"] = repository.manifest(manifest)
    entry["size"] = len(json.dumps(manifest).encode())
    repository.manifest(index, tag=other.replace(":", "-"))


def test_an_attestation_is_no_signature(image: str, pairs: list[Pair], tmp_path: Path, delivered: Delivered) -> None:
    """cosign would take it for one."""
    sbom = tmp_path / "sbom.json"
    sbom.write_text('{"bomFormat": "CycloneDX", "specVersion": "1.6"}')
    make("sign", IMAGE=image, KEY=pairs[1].private)
    make("sign", IMAGE=image, KEY=pairs[0].private, SBOM=str(sbom))
    assert attested(image, pairs[0]) == json.loads(sbom.read_text())
    alone = attested_alone(image)
    output([tools.program("cosign"), "verify", *by(pairs[0]), alone])
    assert "has attestations by" in refused(alone, pairs[0].public)
    delivered("an image that was attested but not signed is refused")


def by(pair: Pair) -> list[str]:
    return [f"--key={pair.public}", "--insecure-ignore-tlog"]


def attested(image: str, pair: Pair) -> Any:
    """The SBOM that a key's holder has attested."""
    said = output([tools.program("cosign"), "verify-attestation", "--type=cyclonedx", *by(pair), image])
    return json.loads(base64.b64decode(json.loads(said)["payload"]))["predicate"]


def test_the_sbom_of_the_service_is_attested_whole(
    stack: up.Stack, image: str, pairs: list[Pair], delivered: Delivered
) -> None:
    """For another image, so that the service's own does not gather signatures from run to run."""
    make("sbom", IMAGE=f"{stack.image.repository}@{stack.image.digest}")
    sbom = BUILD / "report" / "sbom.cdx.json"
    make("sign", IMAGE=image, KEY=pairs[0].private, SBOM=str(sbom))
    assert attested(image, pairs[0]) == json.loads(sbom.read_text())
    delivered("the SBOM is attested as it is")


def attested_alone(image: str) -> str:
    """The same image in another repository, with its attestations and without its signatures."""
    host, _, rest = image.partition("/")
    name, _, digest = rest.partition("@")
    source, target = Repository(host, name), Repository(host, f"{name}-attested")
    manifest = json.loads(source.get("manifests", digest))
    target.blob(source.get("blobs", manifest["config"]["digest"]))
    httpx.put(
        f"{target.url}/manifests/{digest}",
        content=source.get("manifests", digest),
        headers={"Content-Type": manifest["mediaType"]},
        trust_env=False,
    ).raise_for_status()
    index = json.loads(source.get("manifests", digest.replace(":", "-")))
    kept = []
    for entry in index["manifests"]:
        referrer = json.loads(source.get("manifests", entry["digest"]))
        blobs = [referrer["config"], *referrer["layers"]]
        contents = [source.get("blobs", blob["digest"]) for blob in blobs]
        payload = base64.b64decode(json.loads(contents[1])["dsseEnvelope"]["payload"])
        if b"https://cyclonedx.org/bom" in payload:
            for content in contents:
                target.blob(content)
            target.manifest(referrer)
            kept.append({**entry, "digest": target.manifest(referrer), "size": len(json.dumps(referrer).encode())})
    assert 0 < len(kept) < len(index["manifests"])
    target.manifest({**index, "manifests": kept}, tag=digest.replace(":", "-"))
    return target.image(digest)


def test_the_chart_is_pushed_with_its_version_and_signed(
    repository: Repository, pairs: list[Pair], delivered: Delivered
) -> None:
    chart = make("package", CHART_REGISTRY=f"oci://{repository.host}/{repository.name}").splitlines()[-1]
    name, _, digest = chart.partition("@")
    assert f"chart={chart}\n" in make("outputs")
    pushed = Repository(repository.host, f"{repository.name}/fastapi-service")
    assert name == f"{pushed.host}/{pushed.name}"
    manifest = pushed.get("manifests", __version__)
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest
    assert json.loads(manifest)["annotations"]["org.opencontainers.image.version"] == __version__
    assert "is not signed" in refused(chart, pairs[0].public)
    make("sign", IMAGE=chart, KEY=pairs[0].private)
    make("verify", IMAGE=chart, KEY=pairs[0].public)
    delivered("the chart has the app's version and a signature")
