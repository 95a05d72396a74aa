"""The list of an image's packages, by the real trivy."""

import json
from pathlib import Path

import pytest

from delivery import sbom
from delivery.__main__ import main
from delivery.sbom import Package
from tests.supply import layout
from tests.supply.conftest import MakeImage
from tests.supply.layout import debian, python


def test_lists_both_kinds_of_packages_over_all_layers(make_image: MakeImage, tmp_path: Path) -> None:
    image = make_image(
        debian("zlib1g", "1:1.3.1-1", source="zlib") | debian("libstdc++6", "14.2.0-19"),
        python("h11", "0.16.0"),
        python("Some.Thing", "1.0", licence="Apache-2.0 OR MIT"),
    )
    made = sbom.write(image, tmp_path / "report")
    found = sbom.read(made["cyclonedx"])
    assert found.system == "debian 13.7"
    assert found.packages == (
        Package("deb", "libstdc++6", "14.2.0-19", "amd64"),
        Package("deb", "zlib1g", "1:1.3.1-1", "amd64"),
        Package("pypi", "h11", "0.16.0", "", ("MIT",)),
        Package("pypi", "some-thing", "1.0", "", ("Apache-2.0 OR MIT",)),
    )


def test_spdx_lists_the_same(make_image: MakeImage, tmp_path: Path) -> None:
    made = sbom.write(make_image(debian("netbase", "6.5"), python("h11", "0.16.0")), tmp_path / "report")
    document = json.loads(made["spdx-json"].read_text())
    assert document["spdxVersion"].startswith("SPDX-2")
    assert {"netbase", "h11"} <= {p["name"] for p in document["packages"]}


APK = {"lib/apk/db/installed": "C:Q1abc\nP:musl\nV:1.2.5-r9\nA:x86_64\nL:MIT\n\n"}
DPKG = {
    "var/lib/dpkg/status": "Package: zlib1g\nStatus: install ok installed\nVersion: 1:1.3.1-1\nArchitecture: amd64\n"
    "Maintainer: Nobody <nobody@example.com>\nDescription: zlib\n\n"
}
# As images of Azure Linux without rpm have it; the RPM database is binary.
RPM = {
    "var/lib/rpmmanifest/container-manifest-2": "zlib\t1.3.1-1.azl3\t1653816591\t1653753130\tMicrosoft Corporation\t"
    "(none)\t580\tx86_64\t0\tzlib-1.3.1-1.azl3.src.rpm\n"
}


def release(name: str, version: str) -> dict[str, str]:
    return {"etc/os-release": f'ID={name}\nVERSION_ID="{version}"\n'}


@pytest.mark.parametrize(
    ("files", "system", "found"),
    [
        (release("alpine", "3.22.1") | APK, "alpine 3.22.1", "apk:musl 1.2.5-r9"),
        (release("wolfi", "20230201") | APK, "wolfi 20230201", "apk:musl 1.2.5-r9"),
        (release("azurelinux", "3.0") | RPM, "azurelinux 3.0", "rpm:zlib 1.3.1-1.azl3"),
        (layout.SYSTEM | DPKG, "debian 13.7", "deb:zlib1g 1:1.3.1-1"),
        (layout.SYSTEM | debian("zlib1g", "1:1.3.1-1"), "debian 13.7", "deb:zlib1g 1:1.3.1-1"),
        ({"etc/debian_version": "13.7\n"} | DPKG, "debian 13.7", "deb:zlib1g 1:1.3.1-1"),
        (
            {"etc/debian_version": "trixie/sid\n", "etc/lsb-release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\n"}
            | DPKG,
            "ubuntu 24.04",
            "deb:zlib1g 1:1.3.1-1",
        ),
    ],
    ids=["alpine", "wolfi", "rpm", "debian", "distroless", "debian without os-release", "ubuntu"],
)
def test_systems_that_are_supported(
    files: dict[str, str],
    system: str,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sbom, "REPORT", tmp_path / "report")
    assert main(["sbom", str(layout.write(tmp_path / "image", files))]) == 0
    contents = sbom.read(tmp_path / "report" / sbom.FILES["cyclonedx"])
    assert contents.system == system
    assert [f"{p.kind}:{p.name} {p.version}" for p in contents.packages] == [found]
    kind = sbom.ECOSYSTEMS[found.partition(":")[0]]
    assert capsys.readouterr().out.endswith(f": 1 {kind}s\n")


NOT_KNOWN = "trivy knows Debian by etc/debian_version"
NO_RECORDS = "the records are missing (var/lib/dpkg, lib/apk/db or the RPM database)"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (release("debian", "13") | debian("zlib1g", "1:1.3.1-1"), NOT_KNOWN),
        (release("ubuntu", "24.04") | DPKG, NOT_KNOWN),
        (release("arch", "1"), NOT_KNOWN),
        (debian("zlib1g", "1:1.3.1-1"), NOT_KNOWN),
        ({"srv/app": "a program"}, NOT_KNOWN),
        (layout.SYSTEM, NO_RECORDS),
        (release("alpine", "3.22.1"), NO_RECORDS),
        (release("rhel", "9.6"), NO_RECORDS),
    ],
    ids=["debian", "ubuntu", "arch", "status.d alone", "scratch", "debian bare", "alpine bare", "rhel bare"],
)
def test_an_image_whose_system_s_packages_cannot_be_listed_is_refused(
    files: dict[str, str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They would be missing from the list without a word, as it has the Python distribution."""
    monkeypatch.setattr(sbom, "REPORT", tmp_path / "report")
    assert main(["sbom", str(layout.write(tmp_path / "image", files, python("h11", "0.16.0")))]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("image", ["127.0.0.1:1/links@sha256:" + "0" * 64, "not an image"])
def test_an_image_that_is_not_there_is_a_sentence(
    image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbom, "REPORT", tmp_path)
    assert main(["sbom", image]) == 1
    said = capsys.readouterr().err
    assert said.startswith("trivy image failed: ")
    assert len(said.splitlines()) == 1


def test_no_image_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom", ""]) == 1
    assert "IMAGE=" in capsys.readouterr().err
