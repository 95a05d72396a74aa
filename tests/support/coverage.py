"""How much of the app and the kit the tests run: a plugin of pytest's, `-p tests.support.coverage`.

slipcover puts a probe at each line and branch, which removes itself when it is met, so that tests take what they take
without it. coverage.py, which asks at each line for as long as a test runs, more than doubles the CPU of these. What is
measured, and how much must be met, is in pyproject.toml.
"""

import sys
import tomllib
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import pytest
import slipcover  # type: ignore[import-untyped]
from slipcover.importer import SlipcoverLoader  # type: ignore[import-untyped]

from toolkit.paths import ROOT

SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["slipcover"]


class Finder:
    """Finds modules as Python does, and puts probes into ours."""

    def __init__(self, measured: slipcover.Slipcover) -> None:
        self.packages = {source.rpartition("/")[2] for source in SETTINGS["source"]}
        self._measured = measured
        self._ours = slipcover.FileMatcher(SETTINGS["source"], SETTINGS["omit"])

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader and self._ours.matches(spec.origin):
            spec.loader = SlipcoverLoader(self._measured, spec.loader, str(spec.origin))
        return spec


class Report:
    """What the tests have run, after them."""

    def __init__(self, measured: slipcover.Slipcover) -> None:
        self._measured = measured
        self._coverage: Any = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._coverage = self._measured.get_coverage()
        if self.percent < SETTINGS["fail-under"] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @property
    def percent(self) -> float:
        return float(self._coverage["summary"]["percent_covered"])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("what no test has run")
        slipcover.print_coverage(self._coverage, outfile=terminalreporter, skip_covered=True)
        asked = SETTINGS["fail-under"]
        said = "as asked" if self.percent >= asked else f"and {asked} % is asked: test what is listed above"
        terminalreporter.line(f"Tests ran {self.percent:.1f} % of the lines and branches, {said}.")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any file of the tests imports what is measured."""
    already = sorted(name for name in sys.modules if name.partition(".")[0] in {"app", "keel"})
    if already:
        raise pytest.UsageError(f"Imported before their coverage could be measured: {', '.join(already)}.")
    measured = slipcover.Slipcover(
        immediate=True, branch=True, source=list(SETTINGS["source"]), omit=list(SETTINGS["omit"])
    )
    sys.meta_path.insert(0, Finder(measured))
    early_config.pluginmanager.register(Report(measured), "coverage of the app and the kit")
