"""Argo CD and Flux deploy what a pipeline with Helm would: same chart, same values."""

from pathlib import Path
from typing import Any

import yaml

from .helm import CHART, DIGEST, ROOT, Object, Objects, render, with_shared

GITOPS = ROOT / "k8s" / "environments"
PRODUCTION = GITOPS / "production.yaml"
IMAGE = "registry.example.com/team/links"


def load(file: str) -> Any:
    return yaml.safe_load((GITOPS / file).read_text(encoding="utf-8"))


def with_image(image: dict[str, str], *files: Path, release: str, namespace: str) -> Objects:
    assert image["repository"] == IMAGE
    assert len(image["digest"]) == len(DIGEST)
    return render({"image": image}, *files, release=release, options=(f"--namespace={namespace}",))


def expected() -> list[Object]:
    image = {"repository": IMAGE, "digest": "sha256:" + "0" * 64}
    return render({"image": image}, PRODUCTION, release="links", options=("--namespace=links",))


def test_argo_cd_renders_production() -> None:
    application = load("argocd/application.yaml")["spec"]
    source = application["source"]
    helm = source["helm"]
    path = ROOT / source["path"]
    assert path == CHART
    files = [(path / file).resolve() for file in helm["valueFiles"]]
    assert files == with_shared(PRODUCTION)
    assert all(each["forceString"] for each in helm["parameters"])
    image = {each["name"].removeprefix("image."): each["value"] for each in helm["parameters"]}
    namespace = application["destination"]["namespace"]
    assert with_image(image, *files, release=helm["releaseName"], namespace=namespace) == expected()


def test_flux_renders_production() -> None:
    release = load("flux/helmrelease.yaml")
    spec = release["spec"]
    chart = spec["chart"]["spec"]
    assert ROOT / chart["chart"] == CHART
    files = [ROOT / file for file in chart["valuesFiles"]]
    assert files == [CHART / "values.yaml", *with_shared(PRODUCTION)]
    image = spec["values"]["image"]
    namespace = release["metadata"]["namespace"]
    assert with_image(image, *files, release=spec["releaseName"], namespace=namespace) == expected()


def test_flux_reads_the_same_repository() -> None:
    source, release = load("flux/source.yaml"), load("flux/helmrelease.yaml")
    reference = release["spec"]["chart"]["spec"]["sourceRef"]
    assert (source["kind"], source["metadata"]["name"]) == (reference["kind"], reference["name"])
    assert source["metadata"]["namespace"] == release["metadata"]["namespace"]
    assert source["spec"]["url"] == load("argocd/application.yaml")["spec"]["source"]["repoURL"]
    for kept in ("/charts/", "/k8s/environments/"):
        assert f"!{kept}" in source["spec"]["ignore"].splitlines()


def test_both_leave_the_number_of_pods_to_the_autoscaler() -> None:
    """They render without the cluster, so the chart leaves the number out."""
    deployment = next(each for each in expected() if each["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]
    (argo,) = load("argocd/application.yaml")["spec"]["ignoreDifferences"]
    assert (argo["kind"], argo["jsonPointers"]) == ("Deployment", ["/spec/replicas"])
    (flux,) = load("flux/helmrelease.yaml")["spec"]["driftDetection"]["ignore"]
    assert (flux["target"]["kind"], flux["paths"]) == ("Deployment", ["/spec/replicas"])


def test_argo_cd_has_what_the_migrations_need_before_them_and_until_they_have_ended() -> None:
    """By its rules for Helm's hooks, which docs/releasing.md tells: it deletes none before the whole sync has ended."""
    secret = {"enabled": True, "storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "links"}}]}
    on = {"enabled": True}
    policy = {**on, "ingress": {"http": [{"namespaceSelector": {}}]}}
    objects = render({"migrations": on, "externalSecret": secret, "networkPolicy": policy, "tests": on})
    notes = [(each["kind"], each["metadata"].get("annotations", {})) for each in objects]
    hooks = {kind: given for kind, given in notes if given.get("helm.sh/hook", "test") != "test"}
    assert set(hooks) == {"ServiceAccount", "ExternalSecret", "NetworkPolicy", "Job"}
    for given in hooks.values():
        assert set(given["helm.sh/hook"].split(",")) == {"pre-install", "pre-upgrade"}  # both are PreSync
        # It applies hooks: what it finds there, such as a Job that has ended, would stay as it is.
        assert "before-hook-creation" in given["helm.sh/hook-delete-policy"].split(",")
    # The last wave; the next one comes when all of a wave is healthy, as an ExternalSecret is that has made its Secret.
    waves = {kind: int(given.get("helm.sh/hook-weight", "0")) for kind, given in hooks.items()}
    assert max(wave for kind, wave in waves.items() if kind != "Job") < waves["Job"]
    # One annotation of its own would have it overlook Helm's.
    assert not [name for _, given in notes for name in given if name.startswith("argocd.argoproj.io/")]
