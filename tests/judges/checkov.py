"""checkov: policies for objects, and for how they belong together."""

import json

from tests.judges import tools
from tests.judges.scenarios import BAD, NAMES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts, scenario_of


def judge(programs: Tools, manifests: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    # All at once: no scenario's policies select the pods of another (`scenarios.rendered`).
    done = programs.run(
        "checkov", "--framework=kubernetes", "--directory", manifests.of(tools.versions()[-1]),
        "--skip-download", "--compact", "--output=json",
    )  # fmt: skip
    results = json.loads(done.stdout)["results"]
    if results["parsing_errors"]:
        raise ValueError(f"checkov cannot read {', '.join(results['parsing_errors'])}")
    for each in results["passed_checks"]:
        verdicts[scenario_of(each["file_path"])].passed += 1
    for each in results["failed_checks"]:
        verdict = verdicts[scenario_of(each["file_path"])]
        kind, _, name, *_ = each["resource"].split(".")
        finding = Finding("checkov", verdict.scenario, each["check_id"], f"{kind}/{name}", each["check_name"])
        verdict.findings.append(finding)
    return verdicts
