"""Nothing in the repository installs Python distributions but from a lock: no command lets pip or uv resolve."""

import ast
import re
from collections.abc import Iterator

import pytest
import yaml

from toolkit.paths import ROOT
from toolkit.process import output

# Between the program and its command there may be options, and values of theirs.
COMMAND = re.compile(
    r"(?:^|[\s/\"'`])(?:pip[0-9.]*|uv pip)\s+(?:-\S+\s+(?:\S+\s+)??)*(?:install|download|wheel|sync)\b.*"
)
# What installs the newest release of what it is given, whatever its options are.
UNLOCKED = re.compile(r"\b(?:pipx|uvx|uv (?:tool|run|add|sync)|easy_install)\b|--upgrade-deps\b")
WANTED = ("--no-deps", "--require-hashes")
OURS = "tests/workflows/test_install_commands.py"  # has examples


class Lists:
    """The lists of words in a Python file, each as a line: with the lists that are unpacked in it or added to it."""

    def __init__(self, text: str) -> None:
        self.tree = ast.parse(text)
        assigned = [node for node in ast.walk(self.tree) if isinstance(node, ast.Assign | ast.AnnAssign)]
        self.assigned = sorted(assigned, key=lambda node: node.lineno)

    def lines(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.List | ast.Tuple | ast.Call | ast.BinOp):
                yield " ".join(self.words(node))

    def words(self, node: ast.AST) -> Iterator[str]:
        match node:
            case ast.Constant(value=str() as text):
                yield text
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Call(args=parts):
                for part in parts:
                    yield from self.words(part) if not isinstance(part, ast.List | ast.Name) else ()
            case ast.BinOp(left=left, right=right):
                yield from (*self.words(left), *self.words(right))
            case ast.Starred(value=value):
                yield from self.words(value)
            case ast.Name(id=name, lineno=line):
                before = [each for each in self.assigned if (each.end_lineno or 0) < line and assigns(each, name)]
                if before and before[-1].value:
                    yield from self.words(before[-1].value)


def assigns(node: ast.Assign | ast.AnnAssign, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return name in map(ast.unparse, targets)


def lines(path: str, text: str) -> Iterator[str]:
    """The commands of a file, each in one line."""
    if path.endswith(".py"):
        found = Lists(text)
        yield from found.lines()
        for node in ast.walk(found.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from lines("", node.value)
    else:
        # In a Dockerfile, comments may stand within a command.
        joined = re.sub(r"\\\n(?:\s*#.*\n)*", " ", text)
        yield from re.split(r"\n|&&|\|\||[;|]", joined)


def commands(path: str, text: str) -> Iterator[str]:
    """What installs something."""
    if not re.search(r"\b(?:pip|pipx|uv|uvx|easy_install|upgrade-deps)", text):
        return
    for line in lines(path, text):
        if match := COMMAND.search(line) or UNLOCKED.search(line):
            yield line[match.start() :].strip()


def locked(command: str) -> bool:
    """Whether it installs nothing but what a lock lists. One that only says what it would install is none to fear."""
    return not UNLOCKED.search(command) and ("--dry-run" in command or all(option in command for option in WANTED))


def files() -> list[str]:
    """What is in the repository, or will be."""
    known = output(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT).splitlines()
    return [path for path in known if path != OURS and (ROOT / path).is_file()]


def test_every_command_installs_from_a_lock() -> None:
    found = {path: list(commands(path, (ROOT / path).read_bytes().decode(errors="ignore"))) for path in files()}
    known = {"Dockerfile", "requirements/install.py", "toolkit/programs.py", "delivery/scan.py"}
    assert known <= {path for path, its in found.items() if its}, "The test no longer sees what it is to judge."
    assert [f"{path}: {command}" for path, its in found.items() for command in its if not locked(command)] == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Makefile", "\t@.venv/bin/pip install --quiet --require-hashes \\\n\t  -r requirements/dev.txt"),
        ("a.sh", "cd /tmp && python3 -m pip --quiet install fastapi"),
        ("Dockerfile", "RUN pip3 install --no-deps \\\n # why\n  -r a.txt && echo --require-hashes"),
        ("a.yml", "- run: uv pip install --no-deps -r requirements/dev.txt"),
        ("a.yml", "- run: uvx ruff check"),
        ("a.md", "Then `pip install shipshape`."),
        ("a.py", 'run([python, "-m", "pip",\n    "install",\n    "-r", lock], log="--no-deps --require-hashes")'),
        ("a.py", 'PIP = ["-m", "pip"]\nrun([sys.executable, *PIP, "download", "--no-deps", name])'),
        ("a.py", 'pip: list[str] = ["-m", "pip"]\nrun([*pip] + ["install", name])'),
        ("a.py", 'os.system(f"{python} -m pip install {name}")'),
        ("a.py", 'run(python, "-m", "venv", "--upgrade-deps", folder)'),
    ],
)
def test_a_command_that_resolves_is_seen(path: str, text: str) -> None:
    assert not all(map(locked, commands(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.md", "pip could not install it, and pip before 23.3 installs another."),
        ("a.sh", "apt-get install -y python3-pip"),
        ("a.py", 'safe = ["--no-deps", "--require-hashes"]\nrun(["pip", "install", *safe, lock])'),
    ],
)
def test_others_are_not(path: str, text: str) -> None:
    assert all(map(locked, commands(path, text)))


def test_the_hooks_of_pre_commit_are_programs_of_the_lock() -> None:
    """pre-commit would install others with what they need, resolved anew."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {hook["language"] for repo in config["repos"] for hook in repo["hooks"]} == {"system"}
