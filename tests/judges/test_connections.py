"""What each release may connect to, and who to it: the list in connections.txt, and nothing else."""

from pathlib import Path

import pytest

from tests.judges import connections, tools
from tests.judges.scenarios import Manifests
from tests.judges.tools import Tools

pytestmark = pytest.mark.timeout(1800)

LISTS = Path(__file__).with_name("connections.txt")


def lists() -> dict[str, list[str]]:
    """By scenario, the connections that are wanted."""
    found: dict[str, list[str]] = {}
    for line in filter(None, (each.partition("#")[0].strip() for each in LISTS.read_text().splitlines())):
        if line.startswith("["):
            found[line.strip("[]")] = []
        else:
            found[list(found)[-1]].append(line)
    return found


@pytest.fixture(scope="module")
def manifests(rendered: Manifests) -> Path:
    """Every scenario, rendered for the newest Kubernetes."""
    return rendered.of(tools.versions()[-1])


def test_each_scenario_with_a_policy_has_its_list(manifests: Path) -> None:
    assert {file.stem for file in manifests.iterdir() if connections.policies(file)} == lists().keys()


@pytest.mark.parametrize("scenario", lists())
def test_these_connections_are_allowed_and_no_others(scenario: str, manifests: Path, programs: Tools) -> None:
    assert connections.allowed(programs, manifests / f"{scenario}.yaml", scenario) == lists()[scenario]


def test_without_a_policy_all_are_allowed(manifests: Path, programs: Tools) -> None:
    allowed = connections.allowed(programs, manifests / "minimal.yaml", "minimal")
    assert "the internet -> app: any" in allowed
    assert all(line.endswith(": any") for line in allowed)


def test_another_port_is_seen(manifests: Path, programs: Tools, tmp_path: Path) -> None:
    wider = tmp_path / "local.yaml"
    wider.write_text((manifests / "local.yaml").read_text().replace("- port: 5432", "- port: 22"))
    assert "app -> data: 22 6379" in connections.allowed(programs, wider, "local")
