"""Rehearse what a newcomer does on a fresh Debian 12 machine, in a container where nothing is cached."""

import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from rich.markup import escape

from offline import engine
from offline.image_build import AUTHORITIES
from offline.sources import Source
from tests.rehearsal import machine, network
from tests.rehearsal.machine import Machine
from tests.rehearsal.report import Report
from tests.rehearsal.steps import CHECKOUT, INSTALL, STEPS, Step, do, served
from toolkit.paths import LOGS, ROOT, TOOLS
from toolkit.process import Failure, output, run
from toolkit.progress import Progress

MACHINES_LOGS = LOGS / "rehearsal"  # what was in build/log there
CERTIFICATES = "/usr/local/share/ca-certificates"


def until(name: str) -> list[str]:
    """The steps as far as the named one."""
    if name not in STEPS:
        raise Failure(f"UNTIL is '{name}': a rehearsal goes as far as {', '.join(STEPS)}.")
    names = list(STEPS)
    return names[: names.index(name) + 1]


def uncommitted() -> list[str]:
    """The files that a clone does not have as they are."""
    return [line[3:] for line in output(["git", "status", "--porcelain"], cwd=ROOT).splitlines()]


def clone(new: Machine, progress: Progress) -> None:
    """The commit that is checked out, and nothing else of the checkout."""
    with progress.step("git clone"), tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "shipshape"
        run(["git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", copy], log=machine.LOG)
        new.copy_in(copy, CHECKOUT)


def configure_network(new: Machine) -> None:
    """Tell the machine what every machine on this network is told."""
    authorities = network.more_authorities(network.host_authorities(), new.output("cat", AUTHORITIES[0]))
    for number, certificate in enumerate(authorities):
        new.write(f"{CERTIFICATES}/network-{number}.crt", certificate)
    if authorities:
        new.output("update-ca-certificates")
    if settings := network.host_pip_config():
        new.write("/etc/pip.conf", network.pip_conf(settings))
    for name, value in network.host_go_config().items():
        new.output("go", "env", "-w", f"{name}={value}")


def rehearse(names: list[str], report: Report, progress: Progress) -> None:
    """Take the steps on a new machine. What was fetched is in the report, however far it got. Raises Failure."""
    origin = machine.source()
    variables = network.environment(os.environ)
    if origin is Source.PULL:
        variables["SHIPSHAPE_IMAGES"] = "build"  # what is built from packages is what changes with the date
    goroot = Path(output(["go", "env", "GOROOT"]).strip())
    with machine.fresh(origin, goroot, variables, progress) as new:
        if lines := network.host_sources(machine.SUITE):
            new.output("sh", "-c", "rm -f /etc/apt/sources.list.d/debian.sources")
            new.write("/etc/apt/sources.list", "\n".join(lines) + "\n")
        try:
            run_step(INSTALL, new, report, progress)
            configure_network(new)
            with report.step("git clone"):
                clone(new, progress)
            for name in names:
                run_step(STEPS[name], new, report, progress)
            if names[-1] == "up":
                run_step(served(new.output("cat", "build/up.json", folder=CHECKOUT)), new, report, progress)
        except BaseException:
            with suppress(Failure):  # the first one tells more
                inspect(new, report, progress)
            raise
        inspect(new, report, progress)


def inspect(new: Machine, report: Report, progress: Progress) -> None:
    with progress.step("look what was fetched"):
        if new.has(f"{CHECKOUT}/build/log"):
            new.copy_out(f"{CHECKOUT}/build/log", MACHINES_LOGS)
        report.inspect(new, [*LOGS.glob(f"{machine.LOG}-*.log"), *MACHINES_LOGS.glob("*.log")])


def remove_old_logs() -> None:
    """Remove the logs of the rehearsal before: they say what was fetched then."""
    shutil.rmtree(MACHINES_LOGS, ignore_errors=True)
    for log in LOGS.glob(f"{machine.LOG}*.log"):
        log.unlink()


def run_step(step: Step, new: Machine, report: Report, progress: Progress) -> None:
    with report.step(step.name):
        do(step, new, progress)


def main() -> int:
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with Progress() as progress:
        try:
            names = until(os.environ.get("UNTIL") or "image")
            engine.ensure(progress)
            remove_old_logs()
            report = Report(output(["git", "rev-parse", "HEAD"], cwd=ROOT).strip(), uncommitted())
            if report.uncommitted:
                progress.say(f"Only what is committed is rehearsed: {len(report.uncommitted)} files differ from it.")
            try:
                rehearse(names, report, progress)
            finally:
                report.write()
                report.show(progress.console)
            if report.unlocked:
                raise Failure(f"pip has not installed what the lock lists: {', '.join(report.unlocked)} (see above).")
        except Failure as error:
            progress.say(f"[red]{escape(str(error))}[/]")
            return 1
        except KeyboardInterrupt:
            progress.say("Interrupted; the machine is removed.")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
