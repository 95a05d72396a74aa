"""Argo CD, Flux and the policies at admission name what the pipeline names: files, image, and who has signed."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from delivery.gitops import ENVIRONMENTS, FILES, pin
from delivery.signing import Policy
from tests.workflows.pipelines import GITHUB, jobs
from toolkit.paths import CHART, ROOT
from toolkit.process import Failure

POLICIES = ROOT / "k8s" / "policies"
REPOSITORY = "registry.example.com/team/links"
IMAGE = "ghcr.io/other/links@sha256:" + "7" * 64


def documents(file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


ENVIRONMENT = documents(ENVIRONMENTS / "deploy.yaml")[0]
PRODUCTION = ENVIRONMENT["production"]
APPLICATION = documents(ENVIRONMENTS / "argocd" / "application.yaml")[0]["spec"]
RELEASE = documents(ENVIRONMENTS / "flux" / "helmrelease.yaml")[0]
FLUX = {each["kind"]: each for each in documents(ENVIRONMENTS / "flux" / "images.yaml")}


def test_all_three_roads_take_the_same_values() -> None:
    files = [(ENVIRONMENTS / name).resolve() for name in PRODUCTION["values"]]
    source = APPLICATION["source"]
    assert [(ROOT / source["path"] / name).resolve() for name in source["helm"]["valueFiles"]] == files
    # Flux wants the chart's own values named as well.
    assert [ROOT / name for name in RELEASE["spec"]["chart"]["spec"]["valuesFiles"]] == [CHART / "values.yaml", *files]


def test_all_three_roads_are_of_one_release() -> None:
    release = (PRODUCTION["namespace"], PRODUCTION["release"])
    assert (APPLICATION["destination"]["namespace"], APPLICATION["source"]["helm"]["releaseName"]) == release
    assert (RELEASE["metadata"]["namespace"], RELEASE["spec"]["releaseName"]) == release


def test_flux_writes_the_digest_where_the_release_has_it() -> None:
    policy = FLUX["ImagePolicy"]
    lines = (ENVIRONMENTS / "flux" / "helmrelease.yaml").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if "$imagepolicy" in line)
    place = f"{policy['metadata']['namespace']}:{policy['metadata']['name']}:digest"
    assert re.fullmatch(rf' +digest: sha256:[0-9a-f]{{64}} # {{"\$imagepolicy": "{place}"}}', line)
    assert policy["spec"]["digestReflectionPolicy"] != "Never"
    assert policy["spec"]["imageRepositoryRef"]["name"] == FLUX["ImageRepository"]["metadata"]["name"]
    assert FLUX["ImageRepository"]["spec"]["image"] == REPOSITORY
    update = FLUX["ImageUpdateAutomation"]["spec"]
    assert (ROOT / update["update"]["path"] / "helmrelease.yaml").exists()
    assert update["git"]["push"]["branch"] != update["git"]["checkout"]["ref"]["branch"]  # a person merges
    (source,) = documents(ENVIRONMENTS / "flux" / "source.yaml")
    assert update["sourceRef"] == {"kind": source["kind"], "name": source["metadata"]["name"]}


def test_both_change_back_what_was_changed_by_hand() -> None:
    assert APPLICATION["syncPolicy"]["automated"]["selfHeal"] is True
    assert RELEASE["spec"]["driftDetection"]["mode"] == "enabled"


def signers() -> list[tuple[str, str]]:
    """Issuer and expression of the identity, of each policy at admission."""
    (kyverno,) = documents(POLICIES / "kyverno.yaml")
    (sigstore,) = documents(POLICIES / "policy-controller.yaml")
    keyless = [each["cosign"]["keyless"] for each in kyverno["spec"]["attestors"]]
    keyless += [each["keyless"] for each in sigstore["spec"]["authorities"]]
    return [(each["issuer"], each["subjectRegExp"]) for one in keyless for each in one["identities"]]


def expression(identity: str, issuer: str) -> tuple[str, str]:
    pattern, given = (argument.partition("=")[2] for argument in Policy(identity=identity, issuer=issuer).arguments)
    return given, pattern


@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_cluster_trusts_whom_the_deploy_trusts(name: str) -> None:
    signature = ENVIRONMENT[name]["signature"]
    wanted = expression(signature["identity"], signature["issuer"])
    assert signers() == [wanted, wanted]


def test_and_that_is_who_signs_releases() -> None:
    """The pipeline is the one of its repository; the example's is team/links."""
    (step,) = (s for s in jobs(GITHUB / "workflows" / "deploy.yml")["verify"]["steps"] if "run" in s)
    identity = step["env"]["IDENTITY"].replace("${{ github.server_url }}", "https://github.com")
    signature = PRODUCTION["signature"]
    assert identity.replace("${{ github.repository }}", "team/links") == signature["identity"]
    assert f"ISSUER={signature['issuer']}" in step["run"]


def test_the_policies_are_about_the_image_that_is_deployed() -> None:
    (kyverno,) = documents(POLICIES / "kyverno.yaml")
    (sigstore,) = documents(POLICIES / "policy-controller.yaml")
    globs = {each["glob"] for each in kyverno["spec"]["matchImageReferences"]}
    # Without tag and digest it would be the newest; Kyverno compares what a pod has as it is written.
    assert globs == {REPOSITORY, f"{REPOSITORY}@*", f"{REPOSITORY}:*"}
    assert globs == {each["glob"] for each in sigstore["spec"]["images"]}
    assert kyverno["spec"]["validationActions"] == ["Deny"]
    assert sigstore["spec"]["mode"] == "enforce"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ENVIRONMENTS / name, tmp_path / name)
    return tmp_path


def test_an_image_is_pinned_in_both_and_nothing_else_is_changed(folder: Path) -> None:
    assert pin(IMAGE, folder) == [folder / name for name in FILES]
    repository, _, digest = IMAGE.partition("@")
    for name in FILES:
        old = (ENVIRONMENTS / name).read_text(encoding="utf-8")
        new = (folder / name).read_text(encoding="utf-8")
        assert new == old.replace(REPOSITORY, repository).replace("sha256:" + "0" * 64, digest)
        assert (repository in new, digest in new) == (True, True)
    assert pin(IMAGE, folder) == []


def test_a_tag_is_not_pinned(folder: Path) -> None:
    with pytest.raises(Failure, match="a tag, and a tag can be moved"):
        pin("ghcr.io/other/links:1.2.3", folder)


@pytest.mark.parametrize("image", ["", "a\\q" + IMAGE, "links", f"{IMAGE}0", IMAGE.replace("links", "{links}")])
def test_what_is_no_image_is_not_pinned(folder: Path, image: str) -> None:
    with pytest.raises(Failure, match=r"^IMAGE is "):
        pin(image, folder)


def test_of_an_image_with_a_tag_the_digest_says_which(folder: Path) -> None:
    pin(IMAGE.replace("@", ":1.2.3@"), folder)
    assert pin(IMAGE, folder) == []


def test_who_keeps_one_road_pins_in_that(folder: Path) -> None:
    (folder / "flux" / "helmrelease.yaml").unlink()
    assert pin(IMAGE, folder) == [folder / "argocd" / "application.yaml"]
    (folder / "argocd" / "application.yaml").unlink()
    with pytest.raises(Failure, match=r"neither argocd/application\.yaml nor flux/helmrelease\.yaml"):
        pin(IMAGE, folder)


def test_a_file_that_is_written_otherwise_is_left_alone(folder: Path) -> None:
    release = folder / "flux" / "helmrelease.yaml"
    release.write_text(release.read_text(encoding="utf-8").replace("      digest: ", "      hash: "), encoding="utf-8")
    before = (folder / "argocd" / "application.yaml").read_text(encoding="utf-8")
    with pytest.raises(Failure, match=r"helmrelease\.yaml does not name its image"):
        pin(IMAGE, folder)
    assert (folder / "argocd" / "application.yaml").read_text(encoding="utf-8") == before
