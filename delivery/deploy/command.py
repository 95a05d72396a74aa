"""`deploy`, `diff` and `rollback`: each option has a variable of the environment by which make gives it."""

import argparse
import os
import sys
from pathlib import Path

from delivery.deploy import checks, environment
from delivery.deploy.exits import MEANINGS, Exit, Stopped
from delivery.deploy.pipeline import Pipeline
from delivery.deploy.summary import FILE, Summary
from toolkit import reference
from toolkit.process import Failure
from toolkit.progress import Progress
from toolkit.reference import Image
from toolkit.switch import switch

MAX_SECONDS = 86400.0


def seconds(name: str, text: str, default: float) -> float:
    """Raises Failure for what is no number of seconds."""
    if not text:
        return default
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= MAX_SECONDS:
        raise Failure(f"{name} is '{text}': give a number of seconds from 0 to {MAX_SECONDS:g}.")
    return found


def revision(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise Failure(f"REVISION is '{text}': give the number of a revision, as `helm history` lists them.")
    return int(text)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    codes = "exit codes:\n" + "\n".join(f"  {code:>3d}  {meaning}" for code, meaning in MEANINGS.items())

    def command(name: str, summary: str) -> argparse.ArgumentParser:
        form = argparse.RawDescriptionHelpFormatter
        parser = commands.add_parser(name, help=summary, description=summary, epilog=codes, formatter_class=form)
        parser.set_defaults(run=run)
        option(parser, "env", "of k8s/environments/deploy.yaml")
        parser.add_argument("--environments", type=Path, default=environment.FILE, help="another file of environments")
        parser.add_argument("--report", type=Path, default=FILE, help="the summary as JSON (build/report/deploy.json)")
        return parser

    def option(parser: argparse.ArgumentParser, name: str, text: str) -> None:
        variable = name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", default=os.environ.get(variable, ""), help=f"{text} (${variable})")

    deploying = command("deploy", "bring an image to an environment, watch it, and take it back if it is not good")
    option(deploying, "image", "repository@sha256:...")
    option(deploying, "bake", "seconds to watch it, instead of the environment's; 0 for none")
    option(deploying, "wait", "seconds to wait for another deploy's end (default: 0)")
    option(deploying, "dry-run", "1: only say what would change")
    showing = command(
        "diff", "say what a deploy would change, and what was changed by hand; exit 10 if something would"
    )
    option(showing, "image", "repository@sha256:...")
    back = command("rollback", "go back to the last good revision before the present one")
    option(back, "revision", "to this one instead")
    option(back, "wait", "seconds to wait for another deploy's end (default: 0)")


def run(args: argparse.Namespace) -> int:
    summary = Summary(args.command, args.env)
    with Progress() as progress:
        try:
            code = start(args, summary, progress)
        except Stopped as stopped:
            code, said = stopped.code, str(stopped)
        except Failure as failure:
            code, said = Exit.REFUSED, str(failure)
        else:
            said = ""
    summary.exit = code
    if code not in (Exit.DONE, Exit.CHANGES):
        summary.failure = "\n".join(each for each in (summary.failure, said) if each)
    summary.write(args.report)
    if code not in (Exit.REFUSED, Exit.LOCKED) and not showing(args):
        print(summary.text(), flush=True)
    if said:
        print(said, file=sys.stderr, flush=True)
    return int(code)


def showing(args: argparse.Namespace) -> bool:
    """Whether nothing is to be changed."""
    return args.command == "diff" or (args.command == "deploy" and switch("DRY_RUN", args.dry_run))


def show(pipeline: Pipeline, image: Image) -> Exit:
    """What would change, to standard output."""
    changes = pipeline.diff(image)
    print("\n".join(changes.lines()), flush=True)
    return Exit.CHANGES if changes else Exit.DONE


def start(args: argparse.Namespace, summary: Summary, progress: Progress) -> Exit:
    """Raises Failure and Stopped."""
    found = environment.load(args.env, args.environments)
    checks.programs()
    if args.command == "rollback":
        to, wait = revision(args.revision), seconds("WAIT", args.wait, 0)
        Pipeline(found, summary, progress).rollback(to, wait=wait)
        return Exit.DONE
    image = reference.parse(args.image)
    summary.image = str(image)
    if args.command == "diff":
        return show(Pipeline(found, summary, progress), image)
    bake = seconds("BAKE", args.bake, found.bake.seconds)
    wait = seconds("WAIT", args.wait, 0)
    if showing(args):
        show(Pipeline(found, summary, progress), image)
        return Exit.DONE
    Pipeline(found, summary, progress).deploy(image, bake=bake, wait=wait)
    return Exit.DONE
