"""trivy config: misconfigurations that weaken security, by the checks that are built into it."""

import json
import re

from tests.judges import tools
from tests.judges.scenarios import BAD, NAMES, Manifests, documents
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts, scenario_of


def judge(programs: Tools, manifests: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    folder = manifests.of(tools.versions()[-1])
    done = programs.run(
        "trivy", "config", "--quiet", "--format=json", "--include-non-failures", "--skip-check-update",
        "--skip-version-check", "--disable-telemetry", f"--cache-dir={programs.home / 'trivy'}", folder,
    )  # fmt: skip
    for result in json.loads(done.stdout)["Results"]:
        verdict = verdicts[scenario_of(result["Target"])]
        there = documents((folder / result["Target"]).read_text(encoding="utf-8"))
        names = [(each["kind"], each["metadata"]["name"]) for _, each in there]
        for each in result["Misconfigurations"]:
            if each["Status"] == "PASS":
                verdict.passed += 1
                continue
            on = named_in(each["Message"], names)
            verdict.findings.append(Finding("trivy", verdict.scenario, each["ID"], on, each["Message"]))
    return verdicts


def named_in(message: str, names: list[tuple[str, str]]) -> str:
    """Kind/name of the object that a message is about; it says so in its own words alone."""
    for kind, name in names:
        if re.search(rf"\b{kind}\b.*?(?<![\w.-]){re.escape(name)}(?![\w-])", message, flags=re.IGNORECASE):
            return f"{kind}/{name}"
    return "?"
