"""Every document: the commands that it names are there, and its links lead to something."""

import re
from pathlib import Path

import pytest

from toolkit.paths import ROOT
from toolkit.process import output

DOCUMENTS = sorted(output(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT).split())
TARGETS, TARGETS_OF_A_SERVICE = (
    set(re.findall(r"(?m)^([a-z0-9-]+):", (ROOT / makefile).read_text(encoding="utf-8")))
    for makefile in ("Makefile", "template/Makefile.jinja")
)
# What they say is partly of a service that `make new` has made.
OF_A_SERVICE = ("CHANGELOG.md", "README.md", "docs/recipes.md", "docs/upgrading.md")
CODE = re.compile(r"(?ms)^```.*?^```|`[^`\n]+`|^ {4}\S.*?$")
LINK = re.compile(r"\]\(([^)\s#]*)(#[^)\s]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_there(document: str) -> None:
    code = "\n".join(CODE.findall((ROOT / document).read_text(encoding="utf-8")))
    named = set(re.findall(r"(?m)(?:^|`|\$ ) *make ([a-z0-9-]+)", code))
    there = TARGETS | (TARGETS_OF_A_SERVICE if document in OF_A_SERVICE else set())
    assert named <= there, named - there


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_something(document: str) -> None:
    text = CODE.sub("", (ROOT / document).read_text(encoding="utf-8"))
    missing = [
        path + part for path, part in LINK.findall(text) if "://" not in path and not leads(document, path, part)
    ]
    assert not missing


def leads(document: str, path: str, part: str) -> bool:
    target = (ROOT / document).parent / path if path else ROOT / document
    return target.exists() and (not part or target.suffix != ".md" or part[1:] in anchors(target))


def anchors(document: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_a_link_that_leads_nowhere_is_seen() -> None:
    """Else the others would prove nothing."""
    assert leads("README.md", "docs/proof.md", "#past-its-limit")
    assert not leads("README.md", "docs/proof.md", "#nowhere")
    assert not leads("README.md", "docs/nowhere.md", "")
