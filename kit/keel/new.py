"""`keel new NAME [DIR]` makes a service from the template; `keel update` merges later versions of the template into it.

Both use copier (https://copier.readthedocs.io), and need the extra `fastapi-keel[new]`, git and uv. The kit and the
template are in one repository. A service gets the kit as a wheel, built from the template's commit.
"""

import argparse
import hashlib
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
RESERVED = {"app", "build", "deploy", "keel", "site", "test", "tests", "wheels"}
ANSWERS = ".copier-answers.yml"
WHEELS = "wheels"
LOCK = "requirements/kit.txt"


class NewError(Exception):
    """The message is a sentence that says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns 1, and prints a sentence, if it fails."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "new":
            folder = new(options.name, options.folder, options.template, options.ref, _answers(options.answers))
            sys.stdout.write(f"Made {folder}. Next, in that folder: `make check` tests it, `make run` serves it.\n")
        else:
            update(options.folder, options.ref)
            sys.stdout.write("Updated. Read `git diff`, then run `make check`.\n")
    except NewError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keel", description="Make a FastAPI service, and keep it up to date.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    made = commands.add_parser("new", help="make a service from the template")
    made.add_argument("name", help="a DNS label, such as bookings")
    made.add_argument("folder", nargs="?", type=Path, help="the folder to make (default: NAME)")
    made.add_argument("--template", required=True, help="the git repository of the kit and its template")
    made.add_argument("--answer", action="append", default=[], dest="answers", metavar="QUESTION=ANSWER")
    renewed = commands.add_parser("update", help="update a service to a later version of the template and the kit")
    renewed.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="the folder of the service (default: the current one)"
    )
    for each in (made, renewed):
        each.add_argument("--ref", help="a commit, branch or tag of the template (default: the newest tag)")
    return parser


def _answers(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]:
        raise NewError(f"--answer={wrong[0]}: write QUESTION=ANSWER, as in database=none.")
    return {question: answer for question, _, answer in pairs}


def check_name(name: str) -> None:
    """Check that a name can be a DNS label, a Helm release and, with underscores, a Python package.

    Raises:
        NewError: it cannot.
    """
    package = name.replace("-", "_")
    if not NAME.fullmatch(name):
        raise NewError(
            f"NAME is '{name}': a service's name has lower-case letters, digits and hyphens, at most 40, "
            "begins with a letter and does not end with a hyphen, as bookings or order-intake."
        )
    if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in RESERVED:
        raise NewError(f"NAME is '{name}': a Python package of that name would hide another one. Choose another name.")


def new(name: str, folder: Path | None, template: str, ref: str | None, answers: dict[str, str]) -> Path:
    """Make the service `name` in an empty folder, with answers to the template's questions; returns the folder.

    Raises:
        NewError: the name is not possible, the folder is not empty, a program is missing, or an answer is not valid.
    """
    check_name(name)
    folder = (folder or Path(name)).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NewError(f"{folder} is not an empty folder, and nothing was written. Name another one, with DIR=.")
    _need("git", "uv")
    copier, errors = _copier()
    given = {"name": name, **answers}
    if Path(template).is_dir():  # only what is committed there: of a folder, copier would take uncommitted changes too
        template = f"git+file://{Path(template).absolute()}"
    # Made beside the target and then moved, so that a failure leaves nothing behind.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as directory:
        made = Path(directory) / name
        try:
            copier.run_copy(template, made, data=given, vcs_ref=ref, defaults=True, quiet=True)
        except errors as error:
            raise NewError(f"The service could not be made: {error}") from error
        asked = (made / ANSWERS).read_text(encoding="utf-8")
        if unknown := [question for question in answers if not re.search(rf"^{re.escape(question)}: ", asked, re.M)]:
            raise NewError(f"The template does not ask for {unknown[0]}: copier.yml has its questions.")
        _install_kit(made)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    _git(folder, "init", "--quiet")
    return folder


def update(folder: Path, ref: str | None = None) -> None:
    """Merge the changes of the template since the service was made, and install the kit of the same commit.

    Raises:
        NewError: the folder was not made from the template, has uncommitted changes, or a program is missing.
    """
    folder = folder.absolute()
    if not (folder / ANSWERS).is_file():
        raise NewError(f"{folder} has no {ANSWERS}: it was not made by `keel new`, and cannot be updated.")
    _need("git", "uv")
    if not (folder / ".git").exists():
        raise NewError(f"{folder} is not a git repository: run `git init` and commit, so that changes can be merged.")
    if _git(folder, "status", "--porcelain"):
        raise NewError(f"{folder} has changes that are not committed, and nothing was written. Commit or stash them.")
    copier, errors = _copier()
    try:
        copier.run_update(folder, vcs_ref=ref, defaults=True, overwrite=True, quiet=True)
    except errors as error:
        raise NewError(f"The service could not be updated: {error}") from error
    _install_kit(folder)
    if conflicts := _git(folder, "diff", "--name-only", "--diff-filter=U").split():
        raise NewError(f"Both you and the template changed {', '.join(conflicts)}: resolve the conflicts, then commit.")


def _copier() -> tuple[Any, tuple[type[Exception], ...]]:
    """Copier, and the errors that it raises."""
    try:
        import copier  # noqa: PLC0415  # an extra that no server has
        import copier.errors  # noqa: PLC0415
    except ImportError as error:
        raise NewError("This needs copier: install fastapi-keel[new].") from error
    return copier, (copier.errors.CopierError, ValueError, TypeError)


def _need(*programs: str) -> None:
    for program in programs:
        if not _program(program):
            raise NewError(f"This needs {program}, which is not on the PATH: install it.")


def _program(name: str) -> str | None:
    """The path of a program: on the PATH, or in the environment of this Python."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def _install_kit(folder: Path) -> None:
    """Build the wheel of the kit at the template's commit, and lock it by its hash."""
    answers = (folder / ANSWERS).read_text(encoding="utf-8")
    source, commit = (_answer(answers, name) for name in ("_src_path", "_commit"))
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory) / "template"
        _git(Path(directory), "clone", "--quiet", "--no-checkout", source.removeprefix("git+"), str(clone))
        _git(clone, "checkout", "--quiet", _commit_of(commit), "--", "kit")
        built = Path(directory) / "wheel"
        uv = _program("uv") or "uv"
        _run([uv, "build", "--quiet", "--wheel", str(clone / "kit"), "--out-dir", str(built)])
        (wheel,) = built.glob("*.whl")
        wheels = folder / WHEELS
        shutil.rmtree(wheels, ignore_errors=True)
        wheels.mkdir()
        shutil.copy(wheel, wheels)
    digest = hashlib.sha256((wheels / wheel.name).read_bytes()).hexdigest()
    (folder / LOCK).write_text(
        f"# The kit, as it is at the template's commit: `make update` writes this.\n"
        f"./{WHEELS}/{wheel.name} --hash=sha256:{digest}\n",
        encoding="utf-8",
    )


def _answer(answers: str, name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", answers, flags=re.MULTILINE)
    if found is None:
        raise NewError(f"{ANSWERS} has no {name}: restore it from git.")
    return found[1].strip("'\"")


def _commit_of(described: str) -> str:
    """The commit that copier has recorded as a tag, or as the output of `git describe`."""
    found = re.search(r"-[0-9]+-g([0-9a-f]+)$", described)
    return found[1] if found else described


def _git(folder: Path, *arguments: str) -> str:
    return _run(["git", "-C", str(folder), *arguments])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise NewError(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
