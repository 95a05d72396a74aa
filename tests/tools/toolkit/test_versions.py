"""The lock file agrees with itself, and with everything that names an image."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s import components
from tests.e2e.faults.servers import POOLER
from toolkit import versions
from toolkit.paths import OFFLINE
from toolkit.process import Failure
from toolkit.programs import module_dir
from toolkit.versions import Image, Program

LOCK = versions.load()
IMAGES = pytest.mark.parametrize("image", LOCK.images, ids=[i.repository for i in LOCK.images])
NAME = re.compile(r"(?P<registry>[a-z0-9-]+(\.[a-z0-9-]+)+)/[a-z0-9-]+(/[a-z0-9-]+)*:[\w.-]+(@sha256:[0-9a-f]{64})?")
NODE = LOCK.image("kindest/node")


def test_a_shared_version_stands_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lock.yaml"
    shared = "vars: {kubernetes: v1.36.4}\n"
    file.write_text(
        shared + "node: a:${kubernetes}@b\nset:\n- major=${kubernetes.major}\n- minor=${kubernetes.minor}\n"
    )
    read = versions.read(file)
    assert (read["node"], read["set"]) == ("a:v1.36.4@b", ["major=1", "minor=36"])
    file.write_text(shared + "node: a:${kind}\n")
    with pytest.raises(Failure, match="names \\$\\{kind}"):
        versions.read(file)


@IMAGES
def test_a_name_has_registry_repository_and_tag(image: Image) -> None:
    for name in (image.name, *image.also):
        assert NAME.fullmatch(name), name
    assert image.name.startswith(f"{image.registry}/{image.repository}:{image.tag}")


def test_a_name_comes_apart() -> None:
    image = Image("docker.io/library/postgres:17@sha256:" + "0" * 64)
    assert (image.registry, image.repository, image.tag) == ("docker.io", "library/postgres", "17")
    assert image.tagged == "docker.io/library/postgres:17"


def test_names_are_unique() -> None:
    names = [n for i in LOCK.images for n in (i.tagged, *i.also)]
    assert len(names) == len(set(names))
    repositories = [i.repository for i in LOCK.images]  # the key of `Versions.image`, and of the local registry
    assert len(repositories) == len(set(repositories))


def test_the_registries_are_those_to_pull_from() -> None:
    assert LOCK.registries == ["docker.io", "quay.io", "registry.k8s.io"]


@IMAGES
def test_an_image_is_made_of_what_is_there(image: Image) -> None:
    for executable in image.files:
        assert executable in LOCK.program_of(executable).executables
    if image.dockerfile:
        assert (OFFLINE / "images" / image.dockerfile).is_file()
    elif not image.pull_only:
        assert image.files, "nothing would be in it"
        assert not image.context, "only a Dockerfile reads the context"
    for folder in image.context:
        assert (OFFLINE / "images" / folder).is_dir()
    if image.module:
        assert image.module["path"] in LOCK.modules


@IMAGES
def test_a_dockerfile_copies_only_what_its_context_has(image: Image) -> None:
    if not image.dockerfile:
        return
    text = (OFFLINE / "images" / image.dockerfile).read_text()
    has = {f"bin/{e}" for e in image.files} | {"bin/" for _ in image.files}
    has |= {f"upstream/{f}" for f in image.module.get("files", ())}
    has |= {f"upstream/{f}/" for f in image.module.get("files", ())}
    has |= {f"{f}/" for f in image.context}
    has |= {str(p.relative_to(OFFLINE / "images")) for f in image.context for p in (OFFLINE / "images" / f).rglob("*")}
    for words in re.findall(r"^COPY (?!--from)(.*)$", text, flags=re.M):
        for source in [w for w in words.split() if not w.startswith("--")][:-1]:
            assert source.rstrip("/") in {h.rstrip("/") for h in has} or source == "upstream/pkg/build/nodeimage/", (
                source
            )


@IMAGES
def test_a_dockerfile_starts_from_our_base_alone(image: Image) -> None:
    """Anything else would have to be pulled."""
    if image.dockerfile:
        text = (OFFLINE / "images" / image.dockerfile).read_text()
        assert set(re.findall(r"^FROM (\S+)", text, flags=re.M)) <= {LOCK.base["name"], "scratch"}


@IMAGES
def test_a_dockerfile_installs_what_the_lock_names_and_asks_for_its_version(image: Image) -> None:
    if not image.packages:
        return
    group, text = LOCK.packages[image.packages], (OFFLINE / "images" / image.dockerfile).read_text()
    (line,) = re.findall(r"^RUN --mount=type=bind,source=packages,target=/packages (?:.*\\\n)*.*$", text, re.M)
    assert f"{' '.join(group.packages)} \\\n" in line or f"{' '.join(group.packages)} &&" in line
    assert "sh /packages/hold" in line.partition(group.packages[-1])[2]
    assert f"-t {group.suite} " in line or group.suite == LOCK.base["suite"]


def test_no_packages_are_left_over_and_each_is_held_to_a_version() -> None:
    used = {i.packages for i in LOCK.images} | {p.name for p in LOCK.programs.values() if p.debian}
    used |= {"engine"}  # of the host
    assert used - {""} == set(LOCK.packages)
    for group in LOCK.packages.values():
        assert group.held
        assert set(group.held) <= set(group.packages)
        assert all(re.fullmatch(r"\d+(\.\d+)*", held.version) for held in group.held.values())


def test_an_image_holds_the_version_that_its_name_promises() -> None:
    """The name alone says it: it is written nowhere else."""
    of = {"prometheus/prometheus": "prometheus", "prometheus/alertmanager": "alertmanager"}
    promised = [i for i in LOCK.images if (i.packages and i.packages != "node") or i.repository in of]
    assert len(promised) == 6
    for image in promised:
        held = LOCK.packages[image.packages or of[image.repository]].held
        assert {h.version for h in held.values()} == {image.tag.removeprefix("v").partition("-")[0]}
        assert not [h for h in held.values() if h.least], "another version would be called by this name"


def test_no_dockerfile_and_no_context_is_left_over() -> None:
    used = {i.dockerfile for i in LOCK.images if i.dockerfile} | {f for i in LOCK.images for f in i.context}
    used |= {"packages" for i in LOCK.images if i.packages}
    assert {p.name for p in (OFFLINE / "images").iterdir()} == used


def test_every_module_has_a_checksum_and_a_use() -> None:
    for module in LOCK.modules.values():
        assert re.fullmatch(r"v\d+\.\d+\.\d+", module.version), module
        assert re.fullmatch(r"h1:[A-Za-z0-9+/]{43}=", module.sum), module
    used = {p.module for p in LOCK.programs.values() if p.module} | {m.module for m in LOCK.manifests.values()}
    used |= {i.module["path"] for i in LOCK.images if i.module}
    assert used == set(LOCK.modules)


def test_what_can_be_left_out_takes_its_images_along() -> None:
    assert {i.component for i in LOCK.images} - {""} == set(components.optional())
    gone = {i.repository for i in LOCK.images} - {i.repository for i in LOCK.without(["traces"]).images}
    assert gone == {"jaegertracing/jaeger"}
    assert LOCK.without([]) == LOCK


def test_the_component_is_not_what_an_image_is_made_of() -> None:
    assert repr(replace(LOCK.images[0], component="logs")) == repr(LOCK.images[0])


@pytest.mark.parametrize("program", LOCK.programs.values(), ids=list(LOCK.programs))
def test_a_program_comes_from_a_module_or_a_wheel_and_is_used(program: Program) -> None:
    assert bool(program.module) != bool(program.wheel)
    if program.wheel:
        assert re.fullmatch(r"[\w-]+==[\d.]+", program.wheel)
        assert re.fullmatch(r"[0-9a-f]{64}", program.sha256)
    assert program.seconds > 0
    wanted = {e for i in LOCK.images for e in i.files} | set(LOCK.tools)
    assert set(program.executables) <= wanted, "built for nothing"


def test_no_two_programs_give_the_same_executable() -> None:
    names = [e for p in LOCK.programs.values() for e in p.executables]
    assert len(names) == len(set(names))


def test_a_tool_is_an_executable_of_its_program_in_a_version_that_will_do() -> None:
    for tool in LOCK.tools.values():
        program = LOCK.program_of(tool.name)
        assert program.name == tool.program
        assert LOCK.modules[program.module].version == tool.version
        assert re.match(tool.match, tool.version)


def released(program: Program) -> str:
    """The version of a program as its authors call it. Jaeger's module has two for each release, and Prometheus' path
    has no /v3, so that its 3.5.3 is v0.305.3."""
    version = program.wheel.split("==")[1] if program.wheel else LOCK.modules[program.module].version
    if program.name == "prometheus":
        major, minor = divmod(int(version.split(".")[1]), 100)
        return f"{major}.{minor}.{version.split('.')[2]}"
    return {"jaeger v1.76.0": "2.13.0"}.get(f"{program.name} {version}", version.removeprefix("v"))


def test_what_a_program_says_of_itself_is_its_module_s_version() -> None:
    for program in LOCK.programs.values():
        for setting in program.set:
            name, value = setting.split("=")
            if name.lower().endswith("version"):
                assert value.removeprefix("v") == released(program), setting


def test_an_image_s_tag_is_the_version_of_what_is_in_it() -> None:
    own = {"kindest/local-path-provisioner", "pod-network"}  # versioned by kind, and by ourselves
    for image in LOCK.images:
        for executable in image.files:
            program = LOCK.program_of(executable)
            if image.repository not in own:
                assert image.tag.removeprefix("v").startswith(released(program)), image.name


# Which images are referred to, and by whom.


def images_in(manifests: str) -> set[str]:
    """Every image that manifests name: of containers, of custom resources, in arguments."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("image"), str):
                found.add(node["image"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)
        elif isinstance(node, str) and NAME.fullmatch(node.rsplit("=", 1)[-1]):
            found.add(node.rsplit("=", 1)[-1])

    for document in re.split(r"^---$", manifests, flags=re.M):
        if "\nkind: CustomResourceDefinition\n" not in document:
            walk(yaml.safe_load(document))
    return found


@pytest.fixture(scope="module")
def kind_module() -> Path:
    return module_dir(LOCK.modules["sigs.k8s.io/kind"])


@pytest.fixture(scope="module")
def of_the_node(kind_module: Path) -> set[str]:
    """What kind's files and ours start in a node beside what kubeadm does."""
    storage = (kind_module / "pkg/build/nodeimage/const_storage.go").read_text()
    containerd = (kind_module / "images/base/files/etc/containerd/config.toml").read_text()
    quoted = set(re.findall(r'"([^"\s]+)"', storage + containerd))
    network = images_in((OFFLINE / "images/node/default-cni.yaml").read_text())
    return {name for name in quoted if NAME.fullmatch(name)} | network


@pytest.fixture(scope="module")
def of_kubeadm() -> set[str]:
    """What kubeadm starts, from the constants of its own source."""
    kubernetes = LOCK.modules["k8s.io/kubernetes"]
    text = (module_dir(kubernetes) / "cmd/kubeadm/app/constants/constants.go").read_text()
    version = dict(re.findall(r'^\t(CoreDNSVersion|DefaultEtcdVersion|PauseVersion) = "(.+)"$', text, flags=re.M))
    programs = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"]
    return {
        *(f"registry.k8s.io/{p}:{kubernetes.version}" for p in programs),
        f"registry.k8s.io/etcd:{version['DefaultEtcdVersion']}",
        f"registry.k8s.io/coredns/coredns:{version['CoreDNSVersion']}",
        f"registry.k8s.io/pause:{version['PauseVersion']}",
    }


@pytest.fixture(scope="module")
def of_the_platform(rendered: dict[str, str]) -> set[str]:
    return set().union(*(images_in(text) for text in rendered.values()))


def test_the_platform_names_what_we_think_it_does(of_the_platform: set[str], of_the_node: set[str]) -> None:
    """The other tests would say nothing if nothing were found."""
    assert len(of_the_platform) >= 9
    assert "quay.io/prometheus-operator/prometheus-config-reloader:v0.93.0" in of_the_platform  # an argument
    assert "quay.io/prometheus/prometheus:v3.5.3" in of_the_platform  # a custom resource
    assert len(of_the_node) == 4


def test_every_image_that_is_referred_to_is_in_the_lock(
    of_the_platform: set[str], of_the_node: set[str], of_kubeadm: set[str]
) -> None:
    names = {n for i in LOCK.images for n in (i.name, *i.also)}
    assert of_the_platform | of_the_node | of_kubeadm <= names


def test_no_image_of_the_lock_is_unused(of_the_platform: set[str], of_the_node: set[str], of_kubeadm: set[str]) -> None:
    of_the_host, of_the_tests = {NODE.name, LOCK.image("library/registry").name}, {POOLER}
    assert {i.name for i in LOCK.images} - of_the_platform - of_the_node - of_kubeadm == of_the_host | of_the_tests
