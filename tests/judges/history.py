"""checkov's search for secrets, in every line that a commit has ever added, also where a later one has taken it away.

Its own way through a history leaves out Markdown and merges, and needs a branch. So it is given files to read: for each
file that there ever was, all lines that it ever had.
"""

import hashlib
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.chart.helm import ROOT
from tests.judges.scenarios import BAD, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdict, Verdicts
from toolkit.process import output

HISTORY = "git history"
COMMIT = re.compile(r"[0-9a-f]{40,64}")
PATCHES = ["-r", "--root", "-m", "--patch", "--unified=0", "--no-renames", "--no-ext-diff", "--no-textconv"]
# A repository of its own, whatever the developer's settings.
PLAIN = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
PLANTED = "NOTES.md"


def judge(programs: Tools, _: Manifests) -> Verdicts:
    with tempfile.TemporaryDirectory() as temporary:
        return {HISTORY: look(programs, ROOT, HISTORY), BAD: look(programs, plant(Path(temporary)), BAD)}


@dataclass
class History:
    """For each path the lines it ever had, each with the commit that was found to add it."""

    commits: int = 0
    shallow: bool = False
    lines: dict[str, dict[str, str]] = field(default_factory=dict)


def look(programs: Tools, repository: Path, scenario: str) -> Verdict:
    """What is found in the history of HEAD."""
    history = read(repository)
    before = ", without what was before them: this is a shallow clone" if history.shallow else ""
    verdict = Verdict(scenario, note=f"{history.commits} commits{before}", whole=not history.shallow)
    paths = list(history.lines)
    with tempfile.TemporaryDirectory() as temporary:
        for number, (path, lines) in enumerate(history.lines.items()):
            # Apart from each other: what is a file in one commit may be a folder in another.
            file = Path(temporary) / str(number) / Path(path).name
            file.parent.mkdir()
            file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        done = programs.run(
            "checkov", "--framework=secrets", "--enable-secret-scan-all-files", "--directory", temporary,
            "--skip-download", "--compact", "--output=json",
        )  # fmt: skip
    for each in json.loads(done.stdout).get("results", {"failed_checks": []})["failed_checks"]:
        path = paths[int(each["file_path"].strip("/").split("/")[0])]
        commit = list(history.lines[path].values())[each["file_line_range"][0] - 1]
        message = f"{each['check_name']} of hash {each['resource'][:12]}, added in {commit[:12]}"
        verdict.findings.append(Finding("secrets", scenario, each["check_id"], path, message))
    verdict.passed = len(paths) - len({each.on for each in verdict.findings})
    return verdict


def read(repository: Path) -> History:
    """Read all commits that lead to HEAD; of a shallow clone those that are there, the oldest with all it has."""
    git = ["git", "-C", str(repository), "-c", "core.quotePath=false"]
    commits = output([*git, "rev-list", "HEAD"])
    history = History(
        commits=len(commits.splitlines()),
        shallow=output([*git, "rev-parse", "--is-shallow-repository"]).strip() == "true",
    )
    said = subprocess.run(
        [*git, "diff-tree", "--stdin", *PATCHES], input=commits.encode(), capture_output=True, check=True
    )
    commit, inside = "", False
    lines: dict[str, str] = {}
    for line in said.stdout.decode(errors="replace").split("\n"):
        if COMMIT.fullmatch(line):
            commit = line
        elif line.startswith("diff --git "):
            inside = False
        elif line.startswith("@@ "):
            inside = True
        elif inside and line.startswith("+"):
            lines.setdefault(" ".join(line[1:].splitlines()), commit)
        elif line.startswith("+++ b/"):
            lines = history.lines.setdefault(line.removeprefix("+++ b/").rstrip("\t"), {})
    return history


def plant(folder: Path) -> Path:
    """Make a repository that had an access key in it once, as those of AWS look."""
    key = "AKIA" + hashlib.sha256(b"planted").hexdigest()[:16].upper()
    commit(folder, {PLANTED: f"The key is {key}.\n", "README.md": "Nothing.\n"})
    commit(folder, {PLANTED: "There is no key here.\n"})
    return folder


def commit(folder: Path, files: dict[str, str]) -> None:
    """Write files, and commit them; in a new repository if there is none yet."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "add", *files)
    git(folder, "-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "commit", "--quiet", "--message=more")


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", folder, *arguments], check=True, env={**os.environ, **PLAIN})
