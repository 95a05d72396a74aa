"""The examples of GitOps and of policies at admission, by an API server's own code and their engines' definitions."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.judges import tools
from tests.judges.kubectl_validate import lay_out
from tests.judges.scenarios import documents
from tests.judges.tools import Tools
from toolkit.paths import ROOT

FOLDERS = ("k8s/environments/argocd", "k8s/environments/flux", "k8s/policies")
FILES = sorted(file for folder in FOLDERS for file in (ROOT / folder).glob("*.yaml"))


@pytest.fixture(scope="module")
def validate(programs: Tools, tmp_path_factory: pytest.TempPathFactory) -> "Validate":
    folder = tmp_path_factory.mktemp("examples")
    definitions = folder / "definitions"
    definitions.mkdir()
    for number, content in enumerate(tools.examples()):
        kept = [text for text, there in documents(content.decode()) if there["kind"] == "CustomResourceDefinition"]
        assert kept
        (definitions / f"{number}.yaml").write_text("\n---\n".join(kept), encoding="utf-8")
    lay_out(tools.kubernetes(tools.versions()[-1]) / "api/openapi-spec/v3", folder / "openapi")
    return Validate(programs, folder)


class Validate:
    def __init__(self, programs: Tools, folder: Path) -> None:
        self.programs = programs
        self.folder = folder

    def __call__(self, text: str, name: str) -> dict[str, str]:
        """What is said of each object: "" where it is valid."""
        objects = self.folder / name
        objects.mkdir()
        for document, there in documents(text):
            (objects / f"{there['kind']}.yaml").write_text(document, encoding="utf-8")
        done: subprocess.CompletedProcess[str] = self.programs.run(
            "kubectl-validate", "--version=", f"--local-schemas={self.folder / 'openapi'}",
            f"--local-crds={self.folder / 'definitions'}", "--output=json", objects,
        )  # fmt: skip
        answers, _ = json.JSONDecoder().raw_decode(done.stdout)
        return {
            Path(path).stem: "" if status["status"] == "Success" else status["message"]
            for path, (status,) in answers.items()
        }


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_an_example_is_valid(validate: Validate, file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    said = validate(text, file.stem)
    assert said == {there["kind"]: "" for _, there in documents(text)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_is_misspelt_is_not(validate: Validate, file: Path) -> None:
    """Else the others would prove nothing."""
    text = file.read_text(encoding="utf-8").replace("\nspec:\n", "\nspec:\n  misspelt: true\n")
    assert all("misspelt" in message for message in validate(text, f"{file.stem}-misspelt").values())
