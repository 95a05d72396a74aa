"""The pipelines: without a finding of the linters, with the least rights, of make targets alone."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from delivery import tools
from tests.workflows.pipelines import ACTIONS, GITHUB, MAKE, WORKFLOWS, Step, jobs, load, steps

# What a runner runs besides, and why that is no target.
SET_UP = {
    "sudo apt-get update ": "what the owner of a laptop installs by hand: `make doctor` names it",
    "go install ": "likewise",
    "sudo rm -rf /": "room on a runner, whose disk is full of what nothing here uses",
    "aws eks update-kubeconfig ": "which cluster, and by whose leave: a person has a kubeconfig",
    "gh release create ": "the page of a release is GitHub's own",
    "gh release view ": "likewise: whether it is there",
    "gh release list ": "likewise, and which is the newest",
    "read -ra arguments ": "an action for other repositories, which have no Makefile of ours",
    "PYTHONPATH=": "likewise",
}
PIN = re.compile(r"^\s*(?:- )?uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")
RUNS = [step for step in steps() if "run" in step.content]


def actionlint(folder: Path) -> str:
    """What actionlint says of the workflows in a repository; shellcheck is not everywhere, so nowhere."""
    program = tools.program("actionlint")
    files = sorted((folder / ".github" / "workflows").glob("*.yml"))
    done = subprocess.run(
        [program, "-shellcheck=", "-pyflakes=", *files], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def zizmor(folder: Path) -> list[str]:
    """What zizmor's pedantic persona says, offline."""
    beside = Path(sys.executable).with_name("zizmor")
    program = str(beside) if beside.exists() else shutil.which("zizmor")
    assert program, "zizmor is not installed: make .venv"
    options = ["--offline", "--persona=pedantic", "--format=json", "--no-progress", "--quiet"]
    done = subprocess.run([program, *options, folder], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return [finding["ident"] for finding in json.loads(done.stdout)]


@pytest.fixture
def bad(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the pipelines in which the release does this as well, in a step of its first job with steps."""

    def make(step: str) -> Path:
        shutil.copytree(GITHUB, tmp_path / ".github")
        (tmp_path / ".git").mkdir()  # actionlint looks for the repository
        file = tmp_path / ".github" / "workflows" / "release.yml"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("    steps:\n", f"    steps:\n{step}", 1), encoding="utf-8")
        return tmp_path

    return make


def test_actionlint_has_no_finding() -> None:
    assert actionlint(GITHUB.parent) == ""


def test_actionlint_has_one_where_there_is_one(bad: Callable[[str], Path]) -> None:
    assert "is not defined" in actionlint(bad("      - run: echo ${{ steps.nothing.outputs.x }}\n"))


def test_zizmor_has_no_finding() -> None:
    assert zizmor(GITHUB) == []


def test_zizmor_has_one_where_there_is_one(bad: Callable[[str], Path]) -> None:
    folder = bad("      - run: echo ${{ github.event.head_commit.message }}\n      - uses: actions/cache@v4\n")
    assert {"template-injection", "unpinned-uses"} <= set(zizmor(folder / ".github"))


def test_there_are_steps() -> None:
    """The other tests would say nothing if nothing were found."""
    assert len(WORKFLOWS) == 6
    assert len(ACTIONS) == 3
    assert len(RUNS) >= 20


@pytest.mark.parametrize("step", RUNS, ids=lambda step: step.where)
def test_a_step_is_a_make_target(step: Step) -> None:
    for line in step.lines:
        known = any(line.startswith(command) for command in SET_UP)
        assert known or MAKE.fullmatch(line), f"{step.where}: `{line}` is neither a make target nor explained."


def test_what_is_explained_is_there() -> None:
    lines = [line for step in RUNS for line in step.lines]
    assert [command for command in SET_UP if not any(line.startswith(command) for line in lines)] == []


@pytest.mark.parametrize("step", RUNS, ids=lambda step: step.where)
def test_no_expression_is_in_a_script(step: Step) -> None:
    """What others can write, such as a branch's name, would be run: it comes in as an environment variable."""
    assert "${{" not in step.content["run"]


@pytest.mark.parametrize("file", [*WORKFLOWS, *ACTIONS], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_actions_are_pinned_by_commit(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        if re.match(r"\s*(- )?uses:", line) and "uses: ./" not in line:
            assert PIN.match(line), line


def test_an_action_has_one_pin() -> None:
    pins: dict[str, set[str]] = {}
    for file in [*WORKFLOWS, *ACTIONS]:
        for line in file.read_text(encoding="utf-8").splitlines():
            if match := PIN.match(line):
                pins.setdefault(match["action"], set()).add(line.rpartition("uses: ")[2])
    assert [found for found in pins.values() if len(found) > 1] == []


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_rights_are_given_job_by_job(file: Path) -> None:
    assert load(file)["permissions"] == {}
    for name, job in jobs(file).items():
        assert "permissions" in job, name
        writes = {key for key, value in job["permissions"].items() if value == "write"}
        assert writes == WRITES.get((file.name, name), set()), name


# Who may write what; a right that is not here is refused, and so is one that nobody needs any longer.
WRITES = {
    ("release.yml", "publish"): {"packages", "id-token", "attestations"},
    ("release.yml", "notes"): {"contents"},
    ("release.yml", "deploy"): {"id-token"},
    ("deploy.yml", "staging"): {"id-token"},
    ("deploy.yml", "production"): {"id-token"},
    ("deploy.yml", "rollback"): {"id-token"},
}


def test_what_strangers_start_reaches_nothing() -> None:
    """A pull request from a fork runs its author's code: with no secret, no environment, no right but to read, no cache
    that a release uses, and by no event that runs such code with the repository's rights."""
    started = [file for file in WORKFLOWS if "pull_request" in load(file)["on"]]
    assert [file.name for file in started] == ["ci.yml"]
    for job in jobs(started[0]).values():
        assert job["permissions"] == {"contents": "read"}
        assert not {"environment", "secrets"} & set(job)
        assert job["runs-on"].startswith("ubuntu-")  # a machine of its own
    text = "".join(file.read_text(encoding="utf-8") for file in [*started, GITHUB / "actions" / "setup" / "action.yml"])
    assert not re.search(r"secrets\.|secrets\[|github\.token|actions/cache", text)
    events = {event for file in WORKFLOWS for event in load(file)["on"]}
    assert events == {"push", "pull_request", "workflow_call", "workflow_dispatch", "schedule"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_checkout_keeps_no_credentials_and_a_job_ends(file: Path) -> None:
    for name, job in jobs(file).items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 90, name
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def of(file: str) -> dict[str, dict[str, Any]]:
    return jobs(GITHUB / "workflows" / file)


def commands(job: dict[str, Any]) -> list[str]:
    """The targets that a job runs, in order."""
    found = (MAKE.fullmatch(line) for step in job["steps"] for line in step.get("run", "").splitlines())
    return [match["target"] for match in found if match]


def test_nothing_is_signed_before_it_is_scanned() -> None:
    order = commands(of("release.yml")["publish"])
    assert order[0] == "version"
    assert order.index("image") < order.index("sbom") < order.index("scan") < order.index("sign")
    assert order.index("licences") < order.index("sign")
    assert order.count("sign") == 2  # image and chart


def test_a_release_is_tested_and_deployed_from_one_commit() -> None:
    release = of("release.yml")
    assert release["test"]["uses"] == "./.github/workflows/ci.yml"
    assert release["publish"]["needs"] == "test"
    assert release["deploy"]["uses"] == "./.github/workflows/deploy.yml"
    assert release["deploy"]["with"] == {"image": "${{ needs.publish.outputs.image }}"}


def test_production_comes_after_staging_and_both_after_the_signature() -> None:
    deploy = of("deploy.yml")
    assert commands(deploy["verify"]) == ["verify"]
    assert deploy["staging"]["needs"] == "verify"
    assert deploy["production"]["needs"] == "staging"
    for name in ("staging", "production"):
        assert commands(deploy[name])[-1] == "deploy"
        assert deploy[name]["environment"] == name  # where the approval is asked for
    assert commands(deploy["rollback"]) == ["rollback"]
    assert deploy["rollback"]["environment"] == "${{ inputs.environment }}"


def test_a_rollback_deploys_nothing_and_a_deploy_rolls_nothing_back() -> None:
    """What needs a job that was left out is left out as well, unless its condition says otherwise."""
    deploy = of("deploy.yml")
    conditions = {name: job.get("if") for name, job in deploy.items()}
    assert conditions == {
        "verify": "inputs.action != 'rollback'",
        "staging": None,
        "production": None,
        "rollback": "inputs.action == 'rollback'",
    }
    assert "needs" not in deploy["rollback"]


def test_nothing_waits_for_an_approval_of_something_else() -> None:
    """A job that waits for its approval keeps its group, for up to 30 days. Deploys wait at the cluster's own lock."""
    assert load(GITHUB / "workflows" / "release.yml")["concurrency"]["group"] == "release-${{ github.ref }}"
    deploy = of("deploy.yml")
    assert {name: job["concurrency"]["group"] for name, job in deploy.items() if "concurrency" in job} == {
        "staging": "deploy-staging-${{ inputs.image }}",
        "production": "deploy-production-${{ inputs.image }}",
        "rollback": "rollback-${{ inputs.environment }}",
    }
    for name in ("staging", "production", "rollback"):
        assert deploy[name]["concurrency"]["cancel-in-progress"] is False
        assert "WAIT=1200" in deploy[name]["steps"][-1]["run"]


def test_a_job_can_be_run_again() -> None:
    """What a first attempt has left is not in the way: a release's page, and reports by their names."""
    (page,) = (step for step in of("release.yml")["notes"]["steps"] if "gh release" in step.get("run", ""))
    assert page["run"].splitlines()[0].endswith("> /dev/null ||")
    names = [s.content["with"]["name"] for s in steps() if "/upload-artifact@" in s.content.get("uses", "")]
    assert len(names) == 6
    assert [name for name in names if not name.endswith("-${{ github.run_attempt }}")] == []


def test_who_must_have_signed_is_the_workflow_that_signs() -> None:
    (verify,) = (step for step in of("deploy.yml")["verify"]["steps"] if "verify" in step.get("run", ""))
    assert verify["env"]["IDENTITY"].endswith("/.github/workflows/release.yml@refs/tags/v*")
    assert load(GITHUB / "workflows" / "release.yml")["on"]["push"]["tags"] == ["v*"]


def test_the_cloud_is_reached_without_a_stored_key() -> None:
    """The one secret is the token that the pipeline's own host makes for each job."""
    text = "".join(file.read_text(encoding="utf-8") for file in [*WORKFLOWS, *ACTIONS])
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"GITHUB_TOKEN"}
