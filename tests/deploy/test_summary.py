import json
from pathlib import Path

import pytest

from delivery.deploy.exits import Exit
from delivery.deploy.summary import Step, Summary, Version

IMAGE = "registry.example.com/team/links@sha256:" + "0123456789abcdef" * 4


def failed() -> Summary:
    return Summary(
        command="deploy",
        environment="production",
        image=IMAGE,
        steps=[Step("migrate and upgrade", 8.04, True), Step("helm test", 3.0, False, "a | b")],
        before=Version(4, IMAGE, "1.2.0"),
        after=Version(6, IMAGE, "1.2.0"),
        served_after=42.0,
        changes="2 changed",
        failure="helm test fails.\n```",
        links={"dashboard": "https://grafana.example.com/d/fastapi-overview"},
        exit=Exit.ROLLED_BACK,
    )


def test_for_the_terminal() -> None:
    assert failed().text().splitlines() == [
        "",
        f"deploy production {IMAGE}",
        "  ok      migrate and upgrade     8.0 s",
        "  FAILED  helm test               3.0 s  a | b",
        "",
        "  outcome       failed and rolled back: the version before serves (exit 3)",
        "  before        revision 4, 1.2.0 (links@sha256:0123456789ab)",
        "  now           revision 6, 1.2.0 (links@sha256:0123456789ab)",
        "  changes       2 changed",
        "  served alone  after 42 s",
        "  dashboard     https://grafana.example.com/d/fastapi-overview",
    ]


def test_for_a_page() -> None:
    page = failed().markdown()
    assert page.startswith("### ❌ deploy production\n")
    assert "| helm test | 3.0 | **failed** a \\| b |" in page
    assert page.count("```") == 2, "what has failed cannot end its own block"
    good = Summary("deploy", "staging")
    assert good.markdown().startswith("### ✅ deploy staging\n")
    unproven = Summary("deploy", "staging", exit=Exit.UNPROVEN)
    assert unproven.markdown().startswith("### ⚠️ deploy staging\n")
    assert "nothing is known of it" in unproven.markdown()


def test_for_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    file = tmp_path / "report" / "deploy.json"
    failed().write(file)
    found = json.loads(file.read_text())
    assert (found["exit"], found["outcome"]) == (3, "failed and rolled back: the version before serves")
    assert found["steps"][1] == {"name": "helm test", "seconds": 3.0, "passed": False, "note": "a | b"}
    assert found["before"] == {"revision": 4, "image": IMAGE, "version": "1.2.0"}
    assert page.read_text() == "before\n" + failed().markdown()


@pytest.mark.parametrize(
    ("version", "spelled"),
    [
        (Version(), "nothing"),
        (Version(2, "team/app:1.0"), "revision 2, version unknown (app:1.0)"),
        (Version(3, IMAGE, "2.0"), "revision 3, 2.0 (links@sha256:0123456789ab)"),
    ],
)
def test_versions(version: Version, spelled: str) -> None:
    assert str(version) == spelled
