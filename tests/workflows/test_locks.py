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

from k8s.kind.paths import ROOT
from k8s.kind.process import output

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
    "tests/workflows/", "tests/e2e/", "tests/supply/", "tests/unit/", "k8s/kind/programs.py", "docs/", "delivery/",
)  # fmt: skip
Dependency = tuple[str, str]


def files() -> list[str]:
    """What is in the repository, or will be."""
    return output(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT).splitlines()


def patterns(manager: str) -> list[str]:
    named = CONFIG.get(manager, {}).get("managerFilePatterns", [])
    return [pattern.strip("/") for pattern in named] or OWN[manager]


def found_by_expressions(path: str) -> set[Dependency]:
    """Name and version of each dependency that the custom managers find in a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found: set[Dependency] = set()
    for manager in CONFIG["customManagers"]:
        if any(re.search(pattern.strip("/"), path) for pattern in manager["managerFilePatterns"]):
            for expression in manager["matchStrings"]:
                for match in re.finditer(expression.replace("(?<", "(?P<"), text):
                    name = manager.get("depNameTemplate") or match["depName"]
                    found.add((name, match["currentValue"]))
    return found


def managed(path: str) -> bool:
    """Whether one of the managers reads a file."""
    own = [pattern for name in CONFIG["enabledManagers"] if name != "custom.regex" for pattern in patterns(name)]
    return any(re.search(pattern, path) for pattern in own) or bool(found_by_expressions(path))


def is_lock(path: str) -> bool:
    if path.endswith("Dockerfile"):
        return True
    if path.startswith(NO_LOCKS) and not path.endswith("lock.yaml"):
        return False
    file = ROOT / path
    texts = {"", ".yaml", ".yml", ".txt", ".toml", ".json", ".cfg"}
    return file.suffix in texts and file.is_file() and bool(PINNED.search(file.read_text(encoding="utf-8")))


LOCKS = [path for path in files() if is_lock(path)]


def test_the_locks_are_found() -> None:
    """The other tests would say nothing if nothing were found."""
    known = {"requirements/app.txt", "k8s/kind/images.lock.yaml", "tests/judges/lock.yaml", "delivery/lock.yaml"}
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
    """Of the delivery's programs: each is told its own version."""
    for entry in lock["programs"].values():
        for variable in entry.get("set", ()) if "asked" in lock else ():
            yield entry["module"], variable.rpartition("=")[2]


@pytest.mark.parametrize("path", [path for path in LOCKS if path.endswith("lock.yaml")])
def test_each_entry_is_found_with_its_version(path: str) -> None:
    lock = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    expected = {
        *go_modules(lock), *wheels(lock), *images(lock), *host_programs(lock), *set_versions(lock),
    }  # fmt: skip
    assert found_by_expressions(path) == expected


def test_a_program_is_told_the_version_that_it_has() -> None:
    lock = yaml.safe_load((ROOT / "delivery" / "lock.yaml").read_text(encoding="utf-8"))
    versions = dict(go_modules(lock))
    told = list(set_versions(lock))
    assert told
    assert all(versions[module].removeprefix("v") == version.removeprefix("v") for module, version in told)


def test_what_a_runner_is_given_is_found_with_its_version() -> None:
    file = ".github/actions/setup/action.yml"
    cluster = yaml.safe_load((ROOT / "k8s" / "kind" / "images.lock.yaml").read_text(encoding="utf-8"))
    modules = dict(go_modules(cluster))
    given = found_by_expressions(file)
    assert given == {(name, modules[name]) for name in ("sigs.k8s.io/kind", "helm.sh/helm/v4")}


def test_every_pin_of_the_project_is_locked_with_hashes() -> None:
    """So that what the bot changes in pyproject.toml is in a lock, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = {"app": project["project"]["dependencies"], **project["project"]["optional-dependencies"]}
    pins["judges"] = project["dependency-groups"]["judges"]
    for name, wanted in pins.items():
        locked = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").lower()
        for pin in wanted:
            requirement = re.sub(r"\[.*?\]", "", pin.lower())
            assert re.search(rf"^{re.escape(requirement)}(?: ;.*)? \\\n    --hash=", locked, re.M), f"{pin} ({name})"


def test_an_unknown_lock_is_noticed() -> None:
    assert not managed("charts/fastapi-service/values.schema.json")
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
