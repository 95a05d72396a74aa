"""A container image on disk, as an OCI layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md)."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

# trivy takes the version from the second one.
SYSTEM = {
    "etc/os-release": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
    "etc/debian_version": "13.7\n",
}
SITE = "usr/local/lib/python3.13/dist-packages"


def debian(name: str, version: str, source: str = "") -> dict[str, str]:
    """The record of a Debian package in an image without dpkg."""
    lines = [
        f"Package: {name}",
        f"Version: {version}",
        "Architecture: amd64",
        "Maintainer: Nobody <nobody@example.com>",
    ]
    lines += [f"Source: {source}"] if source else []
    return {f"var/lib/dpkg/status.d/{name}": "\n".join([*lines, f"Description: {name}"]) + "\n"}


def python(name: str, version: str, licence: str = "MIT") -> dict[str, str]:
    """The record of an installed Python distribution."""
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"License-Expression: {licence}"] if licence else []
    return {f"{SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA": "\n".join(lines) + "\n"}


def write(folder: Path, *layers: Mapping[str, str]) -> Path:
    """An image whose layers have these files."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    archives = [archive(layer) for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(a).hexdigest()}" for a in archives]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [put(gzip.compress(a, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip") for a in archives],
    }
    index = {"schemaVersion": 2, "manifests": [put(json.dumps(manifest).encode(), str(manifest["mediaType"]))]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
