"""Each judge is asked once; the tests then read what it said. build/report/judges.json has the table."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.judges import explanations
from tests.judges.judges import JUDGES
from tests.judges.scenarios import BAD, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Verdicts
from toolkit.paths import BUILD
from toolkit.progress import Progress

REPORT = BUILD / "report" / "judges.json"


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    with Progress() as progress:
        programs = Tools(tmp_path_factory.mktemp("home"), progress)
        programs.obtain()
    return programs


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    return Manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def ask(programs: Tools, rendered: Manifests) -> Iterator[Callable[[str], Verdicts]]:
    """What a judge says of its scenarios. At the end, what all said goes into the report."""
    said: dict[str, Verdicts] = {}
    broken: dict[str, Exception] = {}

    def answer(name: str) -> Verdicts:
        if name in broken:
            raise broken[name]
        if name not in said:
            try:
                said[name] = JUDGES[name].judge(programs, rendered)
            except Exception as error:
                broken[name] = error
                raise
        return said[name]

    yield answer
    if said.keys() == JUDGES.keys():  # a part would look like the whole
        report(said, REPORT)


def report(said: dict[str, Verdicts], path: Path) -> None:
    known = explanations.load()
    rows: list[dict[str, Any]] = []
    for judge, verdicts in said.items():
        for verdict in verdicts.values():
            if verdict.scenario != BAD:
                failed = len(explanations.unexplained(verdict.findings, known))
                explained = len(verdict.findings) - failed
                row = {"judge": judge, "scenario": verdict.scenario, "passed": verdict.passed}
                note = {"note": verdict.note} if verdict.note else {}
                rows.append({**row, "failed": failed, "explained": explained, **note})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
