"""Each alert has a page that helps; the end-to-end tests run its commands."""

import re
import shlex
import subprocess

import pytest

from tests.rules import runbooks
from tests.rules.rendered import EVERY_ALERT, alerts_of, groups, platform
from tests.rules.runbooks import COMMANDS, FOLDER, SECTIONS, Command, parse

PAGES = pytest.mark.parametrize("alert", runbooks.alerts())
READING = {
    "kubectl": {"get", "describe", "logs", "top"},
    "curl": {"-sSG"},
}


def test_each_alert_has_a_page_and_each_page_an_alert() -> None:
    assert set(runbooks.alerts()) == {rule["alert"] for rule in alerts_of([*groups(EVERY_ALERT), *platform()])}


def test_the_index_names_every_page() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"\[(\w+)\]\(\1\.md\)", index)) == runbooks.alerts()


@PAGES
def test_all_sections_are_there_in_order(alert: str) -> None:
    page = runbooks.read(alert)
    assert page.title == alert
    assert list(page.sections) == SECTIONS
    assert all(len(text) > 20 for text in page.sections.values())
    assert page.variables == {"NAMESPACE", "RELEASE", "PROMETHEUS"}


@PAGES
def test_the_first_three_commands_only_read(alert: str) -> None:
    page = runbooks.read(alert)
    assert len(page.commands) == 3
    assert page.sections[COMMANDS].count("```") == 6
    assert any(command.prints for command in page.commands)
    for command in page.commands:
        done = subprocess.run(["bash", "-n", "-c", command.line], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        program, *words = shlex.split(command.line)
        verb = words[0] if program == "curl" else next(w for w in words if w not in ("-n", "$NAMESPACE"))
        assert verb in READING[program], command.line
        assert not set(words) & {"|", ";", "&&", ">", "-X", "--data"}
        used = set(re.findall(r"\$([A-Z]+)", command.line))
        assert used <= page.variables
        assert used >= ({"NAMESPACE"} if program == "kubectl" else {"PROMETHEUS"})


@PAGES
def test_links_lead_somewhere(alert: str) -> None:
    text = (FOLDER / f"{alert}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / target).is_file()


@pytest.mark.parametrize(
    ("prints", "output", "unseen"),
    [
        (["NAME … READY … AGE"], "NAME    READY   STATUS   AGE\nlinks   3/3   Running   1h\n", ""),
        (["NAME … READY …"], "No resources found\n", "NAME … READY …"),
        (["Name: …", "Events:…"], "Name:   links\nother\n  Events:   <none>\n", ""),
        (["Events:…", "Name: …"], "Name:   links\nEvents:   <none>\n", "Name: …"),
        (['{"status":"success",…'], '{"status":"success","data":{}}', ""),
        (['{"status":"success",…'], '{"status":"error"}', '{"status":"success",…'),
        ([], "", ""),
    ],
)
def test_output_is_compared_as_the_index_says(prints: list[str], output: str, unseen: str) -> None:
    assert Command("true", tuple(prints)).unseen(output) == unseen


def test_a_command_is_run_with_the_variables() -> None:
    done = Command('printf "%s %s" "$NAMESPACE" "$RELEASE"', ()).execute({"NAMESPACE": "a", "RELEASE": "b"})
    assert (done.returncode, done.stdout) == (0, "a b")


def test_a_block_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with a command"):
        parse(f"# A\n\n## {COMMANDS}\n\n```console\nNAME\n```\n")
