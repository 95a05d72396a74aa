"""Command line of the local cluster: `make up`, `make down`, `make load` and others call this."""

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.markup import escape

from k8s import components, facts, up
from k8s.kind import host
from k8s.load import MAX_RATE, MAX_SECONDS
from k8s.up import Stack
from offline import sources
from offline.images import COMPILERS
from toolkit import project, versions
from toolkit.paths import LOGS, TOOLS
from toolkit.ports import from_environment
from toolkit.process import Failure
from toolkit.progress import Progress, spell
from toolkit.reasons import explain

REGISTRY_PORT = 5001


def ports() -> tuple[dict[str, int], int]:
    """The cluster's ports, and the registry's."""
    chosen = {name: from_environment(f"{name.upper()}_PORT", port.host) for name, port in components.ports().items()}
    registry = from_environment("REGISTRY_PORT", REGISTRY_PORT)
    everything = [*chosen.values(), registry]
    twice = sorted({p for p in everything if everything.count(p) > 1})
    if twice:
        raise Failure(
            f"Two ports are the same, {twice[0]}: set one of {', '.join(f'{n.upper()}_PORT' for n in chosen)}."
        )
    return chosen, registry


def cluster_name(name: str) -> str:
    """A name that kind takes, and that can name a folder of build/."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,49}", name) or name in {TOOLS.name, LOGS.name, "report"}:
        raise Failure(
            f"A cluster cannot be named '{name}': use lower-case letters, digits, dots and hyphens (CLUSTER=...)."
        )
    return name


def without() -> list[str]:
    """The components of the platform that are not wanted, from the environment."""
    names = os.environ.get("WITHOUT", "").split()
    if unknown := [n for n in names if n not in components.optional()]:
        raise Failure(f"WITHOUT names '{unknown[0]}': what can be left out is {' and '.join(components.optional())}.")
    return names


def doctor(progress: Progress, cluster: str) -> int:
    """Print what was looked at; 1 if something is missing."""
    wanted = versions.load()
    source = sources.decide(wanted.registries)
    how = (
        "an image registry answers: images are pulled"
        if source is sources.Source.PULL
        else (
            "no image registry answers: images are built from package registries (compiling takes about "
            f"{spell(sum(p.seconds for p in wanted.programs.values()) / COMPILERS)} on two cores, once)"
        )
    )
    progress.say(f"[dim]{how}[/]")
    findings = host.examine(wanted, source) + up.troubles(cluster)
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        fix = f"  Mend it with: {finding.fix}" if finding.fix else ""
        progress.say(f"{mark} {escape(finding.what + fix)}")
    ready = all(f.ok for f in findings)
    progress.say(
        "Nothing is missing: `make up` can begin." if ready else "Mend the lines with a cross, then run this again."
    )
    return 0 if ready else 1


def images(names: list[str], progress: Progress) -> None:
    """Build what is missing: everything, or these images alone."""
    port, left_out = from_environment("REGISTRY_PORT", REGISTRY_PORT), without()
    if names:
        versions.load().only(names)  # an unknown one is refused before anything is begun
    wanted, source = up.survey(progress)
    if names:
        up.provide_images(wanted.only(names), source, port, progress)
    else:
        up.provide(wanted.without(left_out), source, port, progress)


def bring_up(progress: Progress, cluster: str) -> int:
    started = time.monotonic()
    with up.alone():
        stack = up.up(cluster, *ports(), progress, without=without())
        up.write_facts(stack)
    progress.say(f"[bold green]Up[/] after {spell(time.monotonic() - started)}.")
    print(next_steps(stack))
    return 0


def next_steps(stack: Stack) -> str:
    """What to do with a running service."""
    from app.main import SERVICE  # noqa: PLC0415  # half a second that most commands need not wait

    facts = stack.service.facts()
    url, ca = facts["url"], facts["ca"]
    there = [(name, port) for name, port in components.ports().items() if port.label and name in facts]
    more = "\n".join(
        f"  {port.label:<15} {facts[name]}{port.path}{f'   ({port.note})' if port.note else ''}" for name, port in there
    )
    examples = "\n".join(f"  curl {each}" for each in SERVICE.examples(url, f"$({facts['token']})"))
    return f"""
  The service     {url}
{more}
  kubectl         kubectl --context {facts["context"]} -n {facts["namespace"]} get pods

Trust the demo authority: curl takes it by --cacert; a browser imports {ca}
(Firefox: Settings > Certificates > Authorities; Chrome: Settings > Security > Manage certificates).

Try it:
  export CURL_CA_BUNDLE={ca}
  curl {url}/
{examples}

The same facts for scripts: build/up.json.   `make down` removes everything.
"""


def between(least: float, most: float) -> Callable[[str], float]:
    """A type of argparse's."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return value

    return parse


def look(args: argparse.Namespace) -> int:
    """The commands that use a running cluster and change nothing about it."""
    # What they import takes a second, which the other commands need not wait.
    from k8s import dashboards  # noqa: PLC0415
    from k8s.load import command as load  # noqa: PLC0415

    try:
        if args.command == "load":
            return load.command(args.facts, args.rate, args.seconds)
        return dashboards.command(args.facts)
    except Failure as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def sentence(error: Failure | OSError) -> str:
    """What to say of an error; one of the system's is a full disk or a read-only folder."""
    if isinstance(error, Failure):
        return str(error)
    return explain(str(error)) or f"{error.filename or 'The system'}: {error.strerror or error}."


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m k8s", description=__doc__)
    parser.add_argument("--cluster", default=os.environ.get("CLUSTER") or project.NAME, help="name of the kind cluster")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what this host lacks, and the command that mends it")
    building = commands.add_parser("images", help="build what is missing of the images and tools")
    building.add_argument("names", nargs="*", help="of these images alone, as valkey/valkey, and no tools")
    commands.add_parser("tools", help="provide kind, kubectl and helm in build/bin")
    commands.add_parser("up", help="bring up cluster, platform and service")
    commands.add_parser("down", help="remove what `up` made")
    sending = commands.add_parser(
        "load", help="send a bounded load to the running cluster, so that there is something to see"
    )
    sending.add_argument("--rate", type=between(1, MAX_RATE), default=50.0, help="requests a second (default: 50)")
    sending.add_argument("--seconds", type=between(1, MAX_SECONDS), default=120.0, help="for how long (default: 120)")
    looking = commands.add_parser("dashboards", help="say where to look at what the running service does")
    for command in (sending, looking):
        command.add_argument("--facts", type=Path, default=facts.FILE, help="what `up` wrote (default: build/up.json)")
    args = parser.parse_args(argv)

    if args.command in ("load", "dashboards"):
        return look(args)
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    with Progress() as progress:
        try:
            cluster = cluster_name(args.cluster)
            if args.command == "doctor":
                return doctor(progress, cluster)
            if args.command == "up":
                return bring_up(progress, cluster)
            with up.alone():
                if args.command == "tools":
                    up.tools(progress)
                elif args.command == "images":
                    images(args.names, progress)
                else:
                    up.down(cluster, progress)
        except (Failure, OSError) as error:
            progress.say(f"[red]{escape(sentence(error))}[/]")
            return 1
        except KeyboardInterrupt:
            progress.say("Interrupted. What was finished is kept: run the same command again to go on.")
            return 130
        return 0


if __name__ == "__main__":
    sys.exit(main())
