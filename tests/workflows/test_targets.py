"""Every make target of the pipelines exists, and a test runs it: targets.yaml says which."""

import re
from pathlib import Path

import pytest
import yaml

from tests.make import make
from tests.workflows.pipelines import MAKE, steps
from toolkit.paths import ROOT

TABLE: dict[str, str] = yaml.safe_load(Path(__file__).with_name("targets.yaml").read_text(encoding="utf-8"))
USED = {match["target"] for step in steps() for line in step.lines if (match := MAKE.fullmatch(line))}
PLACEHOLDERS = {"ENV": "local", "IMAGE": "example.com/links@sha256:" + "0" * 64, "TAG": "v0.0.0", "KEY": "cosign.key"}
GIVEN = {
    "ENV",
    "IMAGE",
    "IDENTITY",
    "REVISION",
    "TAG",
    "REPOSITORY",
    "CHART_REGISTRY",
    "SBOM",
    "PLATFORM",
    "PLATFORMS",
    "ISSUER",
    "RUNS",
    "VERSION",
    "WAIT",
}


def recipe(target: str) -> str:
    """What make would run. Raises CommandFailed where there is no such target."""
    return make(target, "--dry-run", **PLACEHOLDERS)


def runs(text: str, target: str, recipe: str) -> bool:
    """Whether a test's source runs a target, or the one command of its recipe."""
    if re.search(rf'make\(\s*"{target}"|"make",[^\n]*"{target}"', text):
        return True
    if folders := re.findall(r'-m pytest (?:--\S+ |-m "[^"]+" )*(tests/\w+)', recipe):
        return all(f'"{folder}"' in text for folder in folders)
    command = re.search(r"-m (?:delivery|k8s) (?!tools\b)([a-z-]+)", recipe)
    return bool(command and re.search(rf'\b(main\(\[|do\(|start\(|shipshape\(\w+, )"{command[1]}"', text))


def test_the_table_names_the_targets_of_the_pipelines() -> None:
    assert set(TABLE) == USED


@pytest.mark.parametrize("target", sorted(USED))
def test_a_target_exists_and_a_test_runs_it(target: str) -> None:
    file = ROOT / TABLE[target]
    assert runs(file.read_text(encoding="utf-8"), target, recipe(target)), f"{TABLE[target]} does not run {target}."


@pytest.mark.parametrize("target", sorted(USED))
def test_neither_make_nor_a_shell_reads_what_is_given(target: str, tmp_path: Path) -> None:
    """A tag or an input can be called `$(shell ...)`."""
    made = tmp_path / "made"
    evil = f"$(shell touch {made})`touch {made}`"
    said = make(target, "--dry-run", **dict.fromkeys(GIVEN, evil))
    assert not made.exists()
    assert "touch" not in said


def test_what_is_given_is_known() -> None:
    """Every variable that a step's own environment has, or its line, before make or after it."""
    made = [step for step in steps() if MAKE.fullmatch("".join(step.lines))]
    given = {name for step in made for name in step.content.get("env", ())}
    given |= {name for step in made for name in re.findall(r"(?:^| )([A-Z_]+)=", step.lines[0])}
    assert given == GIVEN


def test_a_target_that_nothing_runs_is_noticed() -> None:
    nothing = "def test_nothing() -> None: ..."
    assert not runs(nothing, "deploy", "python -m delivery deploy")
    assert not runs(nothing, "chart", "python -m pytest tests/chart")
    assert runs('output(["make", "-s", "deploy"])', "deploy", "")
    assert runs('main(["deploy"])', "deploy", "python -m k8s tools\npython -m delivery deploy\n")
