"""What a contributor's tools read: the pre-commit hooks, the editor's files, and the commands of CONTRIBUTING.md."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolkit.paths import ROOT

CONFIG = ROOT / ".pre-commit-config.yaml"
HOOKS: list[dict[str, Any]] = yaml.safe_load(CONFIG.read_text())["repos"][0]["hooks"]


def pre_commit(folder: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PRE_COMMIT_HOME": str(folder / "home"), "PRE_COMMIT_COLOR": "never"}
    return subprocess.run(
        [sys.executable, "-m", "pre_commit", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with our configuration, and our programs."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    for name in (CONFIG.name, "pyproject.toml", ".yamllint"):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def test_pre_commit_takes_the_configuration(tmp_path: Path) -> None:
    done = pre_commit(tmp_path, "validate-config", CONFIG)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_hook_is_a_program_of_ours() -> None:
    assert [repo["repo"] for repo in yaml.safe_load(CONFIG.read_text())["repos"]] == ["local"]
    for hook in HOOKS:
        assert hook["language"] == "system"
        (program,) = re.findall(r"\.venv/bin/(\S+)", hook["entry"])
        assert (Path(sys.executable).parent / program).exists()


@pytest.mark.parametrize(
    ("hook", "name", "bad", "good"),
    [
        ("ruff-check", "a.py", "print(x)\n", '"""A module."""\n'),
        ("ruff-format", "a.py", "x = {  'a':1 }\n", 'x = {"a": 1}\n'),
        ("yamllint", "a.yaml", "a: yes\n", "a: true\n"),
    ],
)
def test_a_hook_refuses_what_is_bad_and_passes_what_is_good(
    checkout: Path, hook: str, name: str, bad: str, good: str
) -> None:
    for text, code in ((bad, 1), (good, 0)):
        (checkout / name).write_text(text)
        subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
        done = pre_commit(checkout, "run", hook, "--files", name)
        assert done.returncode == code, done.stdout + done.stderr
        assert ("Failed" if code else "Passed") in done.stdout


GENERATED = [
    ("configuration", "docs/configuration.md", ("app", "docs", "kit")),
    ("chart", "charts/fastapi-service/README.md", ("charts", "docs")),
    (
        "dashboards",
        "charts/fastapi-service/dashboards/service-overview.json",
        ("app", "charts", "grafana", "k8s", "kit", "toolkit"),
    ),
    ("domains", "k8s/environments/domains.yaml", ("app", "k8s", "kit")),
]


@pytest.mark.parametrize(("hook", "generated", "folders"), GENERATED, ids=[hook for hook, _, _ in GENERATED])
def test_a_hook_refuses_a_generated_file_that_was_changed(
    checkout: Path, hook: str, generated: str, folders: tuple[str, ...]
) -> None:
    for folder in folders:
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__", "images"))
    text = (checkout / generated).read_text()
    for content, code in ((text, 0), (text.replace("e", "a"), 1)):
        (checkout / generated).write_text(content)
        subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
        done = pre_commit(checkout, "run", hook, "--files", generated)
        assert done.returncode == code, done.stdout + done.stderr
        assert ("Failed" if code else "Passed") in done.stdout


def test_the_hooks_are_what_lint_does() -> None:
    """A hook whose command `make lint` does not run would find what nobody else finds."""
    recipe = re.search(r"(?ms)^lint:.*?\n\n", (ROOT / "Makefile").read_text())
    assert recipe
    lint = recipe[0].replace("$(VENV)/bin/", "").replace("$(RUN)", "python")
    for hook in HOOKS:
        words = re.findall(r"\.venv/bin/([^|&']+)", hook["entry"])[0].replace(" --fix", "").strip()
        assert words in lint, hook["id"]


def test_the_editors_files_name_what_there_is() -> None:
    settings = json.loads((ROOT / ".vscode/settings.json").read_text())
    assert settings["python.defaultInterpreterPath"] == "${workspaceFolder}/.venv/bin/python"
    for schema, files in settings["yaml.schemas"].items():
        assert (ROOT / schema).is_file()
        assert all(list(ROOT.glob(pattern)) for pattern in files)
    assert all((ROOT / folder).is_dir() for folder in settings["python.testing.pytestArgs"])
    launch = json.loads((ROOT / ".vscode/launch.json").read_text())
    modules = {each["module"]: each["args"] for each in launch["configurations"]}
    assert set(modules) == {"dev", "app", "pytest"}
    for module in ("dev", "app"):
        help_text = [sys.executable, "-m", module, *modules[module], "--help"]
        subprocess.run(help_text, cwd=ROOT, check=True, capture_output=True)
    extensions = json.loads((ROOT / ".vscode/extensions.json").read_text())
    assert all(re.fullmatch(r"[a-z-]+\.[a-z-]+", name) for name in extensions["recommendations"])


def test_lines_end_as_the_editors_configuration_says() -> None:
    folders = (
        *("app", "bench", "charts", "delivery", "dev", "docs", "grafana", "k8s", "kit", "offline", "tests", "toolkit"),
    )
    files = [*ROOT.glob("*.md"), *(file for folder in folders for file in (ROOT / folder).rglob("*"))]
    checked = [file for file in files if file.suffix in {".md", ".py"}]
    assert ROOT / "README.md" in checked
    for file in checked:
        content = file.read_bytes()
        assert b"\r\n" not in content, file
        assert not content or content.endswith(b"\n"), file
