"""The update bot knows every lock: each entry is found by one of its managers, with the version that it has.

Renovate's own managers are taken at their word for the files that their patterns match; the expressions of
renovate.json are applied here as Renovate applies them
(https://docs.renovatebot.com/modules/manager/regex/).
"""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from toolkit.paths import ROOT
from toolkit.process import output

CONFIG = json.loads((ROOT / "renovate.json").read_text(encoding="utf-8"))
# What a lock looks like, in whatever file.
PINNED = re.compile(r"h1:[A-Za-z0-9+/]{43}=|--hash=sha256:|sha256: ?[0-9a-f]{64}|@[0-9a-f]{40}\b|@sha256:[0-9a-f]{64}")
# Of Renovate 43 (lib/modules/manager/*/index.ts), the file patterns of the managers that are enabled.
OWN = {
    "pep621": [r"(^|/)pyproject\.toml$"],
    "dockerfile": [r"(^|/|\.)([Dd]ocker|[Cc]ontainer)file$", r"(^|/)([Dd]ocker|[Cc]ontainer)file[^/]*$"],
    "github-actions": [
        r"(^|/)(workflow-templates|\.(?:github|gitea|forgejo)/(?:workflows|actions))/.+\.ya?ml$",
        r"(^|/)action\.ya?ml$",
    ],
    "pre-commit": [r"(^|/)\.pre-commit-config\.ya?ml$"],
}
# Digests that are no dependency's: examples in place of the image that is deployed, and what is made from them.
NO_LOCKS = (
    "k8s/environments/argocd/", "k8s/environments/flux/", "charts/fastapi-service/ci/", "tests/chart/", "tests/deploy/",
    "tests/workflows/", "tests/e2e/", "tests/supply/", "tests/harness/", "tests/tools/", "toolkit/programs.py",
    "docs/", "delivery/",
)  # fmt: skip
Dependency = tuple[str, str]


def files() -> list[str]:
    """What is in the repository, or will be."""
    return output(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT).splitlines()


def patterns(manager: str) -> list[str]:
    named = CONFIG.get(manager, {}).get("managerFilePatterns", [])
    return [pattern.strip("/") for pattern in named] or OWN[manager]


def matches(path: str) -> Iterator[tuple[str, re.Match[str]]]:
    """Each dependency that the custom managers find in a file: its name, and where its version is."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for manager in CONFIG["customManagers"]:
        if any(re.search(pattern.strip("/"), path) for pattern in manager["managerFilePatterns"]):
            for expression in manager["matchStrings"]:
                for match in re.finditer(expression.replace("(?<", "(?P<"), text):
                    yield manager.get("depNameTemplate") or match["depName"], match


def found_by_expressions(path: str) -> set[Dependency]:
    """Name and version of each dependency that the custom managers find in a file."""
    return {(name, match["currentValue"]) for name, match in matches(path)}


def glob(pattern: str, text: str) -> bool:
    """As minimatch has it: `*` stops at a slash, `**` does not."""
    parts = (
        ".*" if part == "**" else "[^/]*" if part == "*" else re.escape(part) for part in re.split(r"(\*+)", pattern)
    )
    return bool(re.fullmatch("".join(parts), text))


def settled(name: str, path: str) -> dict[str, Any]:
    """What the rules say of a dependency, a later one over an earlier one; of every kind of update."""
    found: dict[str, Any] = {}
    for rule in CONFIG["packageRules"]:
        narrower = {"matchManagers", "matchDatasources", "matchUpdateTypes"} & set(rule)
        names, files = rule.get("matchPackageNames", ["**"]), rule.get("matchFileNames", ["**"])
        if not narrower and any(glob(each, name) for each in names) and any(glob(each, path) for each in files):
            found |= rule
    return found


def managed(path: str) -> bool:
    """Whether one of the managers reads a file."""
    if any(glob(pattern, path) for pattern in CONFIG["ignorePaths"]):
        return False
    own = [pattern for name in CONFIG["enabledManagers"] if name != "custom.regex" for pattern in patterns(name)]
    return any(re.search(pattern, path) for pattern in own) or bool(found_by_expressions(path))


def is_lock(path: str) -> bool:
    if path.endswith("Dockerfile"):
        return path != "tests/judges/bad/Dockerfile"  # broken on purpose
    if path.startswith(NO_LOCKS) and not path.endswith("lock.yaml"):
        return False
    file = ROOT / path
    texts = {"", ".yaml", ".yml", ".txt", ".toml", ".json", ".cfg"}
    return file.suffix in texts and file.is_file() and bool(PINNED.search(file.read_text(encoding="utf-8")))


LOCKS = [path for path in files() if is_lock(path)]


def test_the_locks_are_found() -> None:
    """The other tests would say nothing if nothing were found."""
    known = {"requirements/app.txt", "offline/images.lock.yaml", "tests/judges/lock.yaml", "delivery/lock.yaml"}
    assert known | {"Dockerfile", ".github/workflows/release.yml"} <= set(LOCKS)


@pytest.mark.parametrize("path", LOCKS)
def test_each_lock_is_read(path: str) -> None:
    assert managed(path), f"{path} locks something that renovate.json does not cover: add a manager for it."


def go_modules(lock: dict[str, Any]) -> Iterator[Dependency]:
    for path, entry in lock["modules"].items():
        yield path, entry["version"]
    for version in lock.get("kubernetes", {}):
        yield "k8s.io/kubernetes", version


def wheels(lock: dict[str, Any]) -> Iterator[Dependency]:
    for entry in lock["programs"].values():
        if "wheel" in entry:
            name, _, version = entry["wheel"].partition("==")
            yield name, version


def images(lock: dict[str, Any]) -> Iterator[Dependency]:
    entries = [name for image in lock.get("images", ()) for name in (image["name"], *image.get("also", ()))]
    for name in [*entries, *([lock["base"]["name"]] if "base" in lock else [])]:
        repository, _, tag = name.partition("@")[0].rpartition(":")
        yield repository, tag


def host_programs(lock: dict[str, Any]) -> Iterator[Dependency]:
    for tool in lock.get("tools", {}).values():
        yield lock["programs"][tool["program"]]["module"], tool["version"]


def set_versions(lock: dict[str, Any]) -> Iterator[Dependency]:
    """Programs are told their own versions, by variables that end so. Jaeger's and Prometheus' are their images'."""
    for entry in lock["programs"].values():
        for variable in entry.get("set", ()):
            name, _, version = variable.partition("=")
            if name.endswith(".latestVersion"):
                yield "docker.io/jaegertracing/jaeger", version.removeprefix("v")
            elif entry["module"] == "github.com/prometheus/prometheus":
                yield "quay.io/prometheus/prometheus", version
            elif name.lower().endswith("version"):
                yield entry["module"], version


@pytest.mark.parametrize("path", [path for path in LOCKS if path.endswith("lock.yaml")])
def test_each_entry_is_found_with_its_version(path: str) -> None:
    lock = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    written = {
        *go_modules(lock), *wheels(lock), *images(lock), *host_programs(lock), *set_versions(lock),
    }  # fmt: skip
    shared = {("docker.io/kindest/node", version) for version in lock.get("vars", {}).values()}
    assert found_by_expressions(path) == {each for each in written if "$" not in each[1]} | shared


@pytest.mark.parametrize("path", [path for path in LOCKS if path.endswith("lock.yaml")])
def test_each_place_of_a_version_is_written_anew(path: str) -> None:
    """Else the bot would change a module and leave what its program is told."""
    text = (ROOT / path).read_text(encoding="utf-8")
    written = {match.span("currentValue")[1] for _, match in matches(path)}
    places = {match.end() for match in re.finditer(r"(?i)version[:=] ?v?[0-9][0-9.]+", text)}
    assert [text[end - 60 : end] for end in places - written] == []


def test_an_image_and_what_it_is_built_from_come_together() -> None:
    """Their versions are compared: one without the other would fail."""
    path = "offline/images.lock.yaml"
    lock = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    programs: dict[str, str] = {}
    for name, entry in lock["programs"].items():
        package = entry["module"] if "module" in entry else entry["wheel"].partition("==")[0]
        programs |= {each.rpartition("/")[2].replace(".", name): package for each in entry.get("packages", [name])}
    seen = set()
    for image in lock["images"]:
        repository, _, _ = image["name"].partition("@")[0].rpartition(":")
        for file in image.get("files", ()) if not image.get("build_only") else ():
            ours, its = settled(repository, path), settled(programs[file], path)
            assert (ours.get("groupName"), ours.get("enabled")) == (its.get("groupName"), its.get("enabled")), image
            assert ours.get("groupName") or ours.get("enabled") is False, image
            seen.add(repository)
    assert len(seen) > 10
    assert settled("registry.k8s.io/pause", path)["enabled"] is False  # kubeadm's choice, built from C


def test_what_the_presets_leave_out_is_ours_to_say() -> None:
    """config:recommended ignores `**/tests/**`, where a lock of ours is; pre-commit's manager is off by default; an
    image whose registry gives no date is waited for without end; and a minor update hides the patches beside it."""
    assert "config:recommended" in CONFIG["extends"]
    assert CONFIG["ignorePaths"] == ["tests/judges/bad/**"]
    assert CONFIG["pre-commit"]["enabled"] is True
    (dates,) = (rule for rule in CONFIG["packageRules"] if "minimumReleaseAgeBehaviour" in rule)
    assert (dates["matchDatasources"], dates["minimumReleaseAgeBehaviour"]) == (["docker"], "timestamp-optional")
    assert settled("k8s.io/kubernetes", "tests/judges/lock.yaml")["separateMinorPatch"] is True


def test_a_program_is_told_the_version_that_it_has() -> None:
    lock = yaml.safe_load((ROOT / "delivery" / "lock.yaml").read_text(encoding="utf-8"))
    versions = dict(go_modules(lock))
    told = list(set_versions(lock))
    assert told
    assert all(versions[module].removeprefix("v") == version.removeprefix("v") for module, version in told)


def test_what_a_runner_is_given_is_found_with_its_version() -> None:
    file = ".github/actions/setup/action.yml"
    cluster = yaml.safe_load((ROOT / "offline" / "images.lock.yaml").read_text(encoding="utf-8"))
    modules = dict(go_modules(cluster))
    given = found_by_expressions(file)
    assert given == {(name, modules[name]) for name in ("sigs.k8s.io/kind", "helm.sh/helm/v4")}


def test_every_pin_of_the_project_is_locked_with_hashes() -> None:
    """So that what the bot changes in pyproject.toml is in a lock, too; what an extra is added to is in its lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    kit = tomllib.loads((ROOT / "kit" / "pyproject.toml").read_text(encoding="utf-8"))
    app, extras = kit["project"]["dependencies"], project["project"]["optional-dependencies"]
    pins = {"app": app, **{name: app + extra for name, extra in extras.items()}, **project["dependency-groups"]}
    of_kit = kit["project"]["optional-dependencies"]
    pins["service"] = [*app, *of_kit.pop("dev"), *of_kit.pop("new")]
    pins["dev"] += [pin for extra in of_kit.values() for pin in extra]  # which the kit's own tests try
    assert {f"{name}.txt" for name in pins} == {path.name for path in (ROOT / "requirements").glob("*.txt")}
    for name, wanted in pins.items():
        locked = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").lower()
        for pin in wanted:
            requirement = re.sub(r"\[.*?\]", "", pin.lower())
            assert re.search(rf"^{re.escape(requirement)}(?: ;.*)? \\\n    --hash=", locked, re.M), f"{pin} ({name})"


def test_an_unknown_lock_is_noticed() -> None:
    assert not managed("charts/fastapi-service/values.schema.json")
    assert not managed("tests/judges/bad/Dockerfile")
    assert PINNED.search("github.com/a/b v1.0.0 h1:" + "A" * 43 + "=")
    assert PINNED.search("      - uses: a/b@" + "0" * 40)


@pytest.mark.parametrize("manager", CONFIG["customManagers"], ids=lambda each: each["description"])
def test_no_expression_is_idle(manager: dict[str, Any]) -> None:
    for expression in manager["matchStrings"]:
        assert any(
            re.search(expression.replace("(?<", "(?P<"), (ROOT / path).read_text(encoding="utf-8"))
            for path in files()
            if any(re.search(pattern.strip("/"), path) for pattern in manager["managerFilePatterns"])
        ), expression
