"""What the contract's command line makes of what it is given; what it does with an image is tried end to end."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from keel.contract import __main__ as command
from keel.contract import points
from keel.contract.container import ContractError, Pod, in_bytes
from keel.contract.points import Result

RESULTS = [
    Result("gets ready", True, "ready after 1.0 s", "why"),
    Result("has /livez", False, "404", "It matters.", "Change it."),
    Result("stays alive without its dependencies", None, "no dependency was named", "why", "Name one."),
]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("74.5MiB", 78118912),
        ("512Mi", 512 * 1024**2),
        ("512m", 512 * 1024**2),
        ("1Gi", 1024**3),
        ("1Ti", 1024**4),
        ("123", 123),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert in_bytes(text) == size


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Pod]:
    """The pods that were to be tried."""
    pods: list[Pod] = []

    def judge(pod: Pod, _path: str, _away: dict[str, str]) -> list[Result]:
        pods.append(pod)
        return RESULTS

    monkeypatch.setattr(points, "judge", judge)
    return pods


def test_what_was_seen_and_what_to_change(
    judged: list[Pod], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [f"--json={tmp_path}/r.json", f"--junit={tmp_path}/r.xml"]
    assert command.main(["app:1", *files]) == 1
    assert judged[0].image == "app:1"
    said = capsys.readouterr().out
    assert " NO  has /livez: 404\n     It matters.\n     -> Change it.\n" in said
    assert said.endswith("1 of 3 points are kept by app:1.\n")
    assert [each["kept"] for each in json.loads((tmp_path / "r.json").read_text())] == [True, False, None]
    suite = ET.parse(tmp_path / "r.xml").getroot()  # noqa: S314  # written by ourselves
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")


def test_the_chart_s_values(judged: list[Pod], tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        "ports: {http: 80, management: 81}\nconfig: {A: 1}\nenv: [{name: B, value: x}, {name: C, valueFrom: {}}]\n"
        "args: [serve]\nresources: {limits: {memory: 128Mi}}\ndrain: {timeoutSeconds: 9}\n"
    )
    command.main(["app:1", f"--values={values}", "--env=A=2"])
    (pod,) = judged
    assert (pod.public, pod.management, pod.arguments, pod.memory) == (80, 81, ["serve"], "128Mi")
    assert pod.grace_seconds == 9 + 5
    assert pod.variables == {
        "APP_PORT": "80",
        "APP_MANAGEMENT_PORT": "81",
        "APP_DRAIN_DELAY_SECONDS": "2",
        "APP_DRAIN_TIMEOUT_SECONDS": "9",
        "A": "2",
        "B": "x",
    }


def test_values_that_are_null_are_the_chart_s_own(judged: list[Pod], tmp_path: Path) -> None:
    names = ("ports", "config", "env", "command", "args", "resources", "tmp", "probes", "serviceMonitor", "drain")
    values = tmp_path / "values.yaml"
    values.write_text("".join(f"{name}: null\n" for name in names))
    command.main(["app:1", f"--values={values}"])
    values.write_text("probes: {startup: null}\nresources: {limits: null}\n")
    command.main(["app:1", f"--values={values}"])
    assert judged == [Pod("app:1")] * 2


@pytest.mark.parametrize("management", ["null", "8080"])
def test_the_values_of_an_image_with_one_port(judged: list[Pod], tmp_path: Path, management: str) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(
        f"ports: {{http: 8080, management: {management}}}\nserviceMonitor: {{path: /stats}}\n"
        "probes: {startup: {path: /up}, readiness: {path: /a, httpGet: {path: /b}}, liveness: {tcpSocket: {}}}\n"
    )
    command.main(["app:1", f"--values={values}"])
    (pod,) = judged
    assert pod.one_port
    assert (pod.public, pod.management) == (8080, 8080)
    assert (pod.startup, pod.readiness, pod.liveness, pod.metrics) == ("/up", "/b", "", "/stats")
    assert pod.variables.keys() & {"APP_PORT", "APP_MANAGEMENT_PORT"} == {"APP_PORT"}


def test_without_values_the_paths_are_the_chart_s(judged: list[Pod], tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("{}")
    command.main(["app:1", f"--values={values}"])
    (pod,) = judged
    assert (pod.startup, pod.readiness, pod.liveness, pod.metrics) == ("/startupz", "/readyz", "/livez", "/metrics")
    assert not pod.one_port


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--env=A"], "'A' is no variable: write NAME=VALUE."),
        (["--values=/no/such/file"], "/no/such/file cannot be read"),
        (["--values=SIZE"], "'much' is no size: write it as 256Mi."),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "size.yaml").write_text("resources: {limits: {memory: much}}")
    arguments = [each.replace("SIZE", f"{tmp_path}/size.yaml") for each in arguments]
    assert command.main(["app:1", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_without_docker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert command.main(["app:1"]) == 2
    assert "This needs Docker: there is no docker on the PATH." in capsys.readouterr().err


def test_values_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text("- a list\n")
    with pytest.raises(ContractError, match="holds no values"):
        command._with_values(Pod("app:1"), tmp_path / "v.yaml")


def test_it_needs_the_standard_library_alone() -> None:
    """So that the GitHub action installs nothing."""
    kit = Path(command.__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(kit)!r}); import keel.contract.__main__",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
