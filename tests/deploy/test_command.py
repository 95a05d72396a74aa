"""The command as a pipeline calls it, where no cluster answers: what is refused, and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from delivery.deploy import checks, command
from delivery.deploy.exits import MEANINGS
from toolkit.paths import ROOT
from toolkit.process import Failure
from toolkit.switch import switch

DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGE = f"registry.example.com/team/links@{DIGEST}"
# Nothing listens there.
NOWHERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "nowhere", "context": {"cluster": "nowhere", "user": "nobody"}}],
    "users": [{"name": "nobody", "user": {}}],
    "current-context": "nowhere",
}


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(NOWHERE))
    return file


def delivery(kubeconfig: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {
        name: value for name, value in os.environ.items() if name not in {"ENV", "IMAGE", "BAKE", "WAIT", "DRY_RUN"}
    }
    report = ["--report", str(kubeconfig.parent / "deploy.json")]
    return subprocess.run(
        [sys.executable, "-m", "delivery", *arguments, *report],
        cwd=ROOT,
        env={**kept, "KUBECONFIG": str(kubeconfig), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["deploy"], "ENV is not set: give one of local, staging, production (ENV=...)."),
        (["deploy", "--env", "staging"], "IMAGE is not set: give an image by digest, "),
        (
            ["deploy", "--env", "staging", "--image", "links:1.2"],
            "IMAGE is 'links:1.2', a tag, and a tag can be moved: ",
        ),
        (["deploy", "--env", "qa", "--image", IMAGE], "ENV is 'qa', and k8s/environments/deploy.yaml has no such env"),
        (
            ["deploy", "--env", "staging", "--image", IMAGE, "--bake", "long"],
            "BAKE is 'long': give a number of seconds",
        ),
        (
            ["deploy", "--env", "staging", "--image", IMAGE, "--wait", "-1"],
            "WAIT is '-1': give a number of seconds from",
        ),
        (
            ["deploy", "--env", "staging", "--image", IMAGE, "--dry-run", "yes"],
            "DRY_RUN is 'yes': give 1, or leave it out.",
        ),
        (["rollback", "--env", "staging", "--revision", "last"], "REVISION is 'last': give the number of a revision"),
        (["diff", "--env", "staging", "--image", IMAGE], "The cluster does not answer (the current context; "),
        (["deploy", "--env", "staging", "--image", IMAGE], "The cluster does not answer (the current context; "),
        (["rollback", "--env", "staging"], "The cluster does not answer (the current context; "),
    ],
)
def test_refused(kubeconfig: Path, arguments: list[str], sentence: str) -> None:
    done = delivery(kubeconfig, *arguments)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(sentence), done.stderr
    assert done.stdout == ""
    report = json.loads((kubeconfig.parent / "deploy.json").read_text())
    assert (report["exit"], report["outcome"]) == (1, "refused, and nothing was changed")
    assert report["failure"].startswith(sentence)


def test_make_gives_by_the_environment_what_no_shell_reads(kubeconfig: Path) -> None:
    done = delivery(kubeconfig, "deploy", ENV="staging", IMAGE="$(touch /tmp/never); `id`")
    assert done.returncode == 1
    assert done.stderr.startswith("IMAGE is '$(touch /tmp/never); `id`', which is no image by digest")


def test_a_mistake_in_the_values_is_said_in_the_chart_s_words(kubeconfig: Path) -> None:
    (kubeconfig.parent / "own.yaml").write_text("replcas: 3\nautoscaling: {minReplicas: many}\n")
    environments = kubeconfig.parent / "deploy.yaml"
    settings = {"namespace": "links", "release": "links", "url": "https://links.example.com", "values": ["own.yaml"]}
    environments.write_text(yaml.safe_dump({"test": settings}))
    done = delivery(kubeconfig, "deploy", "--env=test", f"--image={IMAGE}", f"--environments={environments}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        f"The values of test ({kubeconfig.parent}/own.yaml) are refused by the chart:",
        "  - at '/autoscaling/minReplicas': got string, want integer",
        "  - at '': additional properties 'replcas' not allowed",
    ]


def test_helm_must_be_there_and_new_enough(tmp_path: Path) -> None:
    """Another program stands in for an old Helm."""
    old = tmp_path / "bin" / "helm"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho v3.19.0\n")
    old.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(old.parent))
        with pytest.raises(Failure, match=r"^kubectl cannot be found: `make tools` provides what is missing"):
            checks.programs()
        (old.parent / "kubectl").symlink_to(old)
        with pytest.raises(Failure, match=r"^Helm is v3\.19\.0, and version 4 is needed"):
            checks.programs()
    checks.programs()


def test_help_lists_the_exit_codes(kubeconfig: Path) -> None:
    said = delivery(kubeconfig, "deploy", "--help").stdout
    for line in (
        "    0  done",
        "    3  failed and rolled back: the version before serves",
        "    4  another deploy is at work, and nothing was changed",
        "  143  terminated (SIGTERM) and rolled back",
    ):
        assert line in said.splitlines()


def test_the_exit_codes_are_documented() -> None:
    page = (ROOT / "docs" / "delivery.md").read_text()
    for code, meaning in MEANINGS.items():
        assert f"| {code:d} | {meaning} |" in page


@pytest.mark.parametrize("text", ["1", "true", "0", "false", ""])
def test_a_switch(text: str) -> None:
    assert switch("DRY_RUN", text) is (text in {"1", "true"})


@pytest.mark.parametrize(("text", "found"), [("", 7.0), ("0", 0.0), ("1.5", 1.5)])
def test_seconds(text: str, found: float) -> None:
    assert command.seconds("BAKE", text, 7.0) == found


@pytest.mark.parametrize("text", ["nan", "inf", "1e9", "-0.1"])
def test_no_seconds(text: str) -> None:
    with pytest.raises(Failure, match=f"^BAKE is '{text}': give a number of seconds from 0 to 86400."):
        command.seconds("BAKE", text, 0)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "٣", "9" * 12])
def test_no_revision(text: str) -> None:
    with pytest.raises(Failure, match=r"^REVISION is "):
        command.revision(text)
