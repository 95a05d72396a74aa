"""The list of an image's packages, by the real trivy."""

import json
from pathlib import Path

import pytest

from delivery import sbom
from delivery.__main__ import main
from delivery.sbom import Package
from k8s.kind.process import Failure
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


def test_an_image_without_package_records_is_refused(make_image: MakeImage, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="No package was found"):
        sbom.write(make_image({"srv/app.py": "pass\n"}), tmp_path / "report")


def test_an_image_of_an_unknown_system_is_refused(tmp_path: Path) -> None:
    """Its Debian packages would be missing from the list without a word."""
    image = layout.write(tmp_path / "image", debian("zlib1g", "1:1.3.1-1") | python("h11", "0.16.0"))
    with pytest.raises(Failure, match=r"Of which system .* is made is not known"):
        sbom.write(str(image), tmp_path / "report")


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
