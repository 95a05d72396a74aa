"""bandit: habits of Python code that weaken security. What is explained, is so in one file and not beside the code."""

import json

from tests.chart.helm import ROOT
from tests.judges.scenarios import BAD, BAD_FILES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts

FOLDERS = ("app", "kit/keel", "delivery", "dev", "k8s", "offline", "toolkit")


def judge(programs: Tools, _: Manifests) -> Verdicts:
    verdicts = open_verdicts([*FOLDERS, BAD])
    places = {**{name: f"{name}/" for name in FOLDERS}, BAD: f"{BAD_FILES.relative_to(ROOT)}/"}
    done = programs.run(
        "bandit", "--recursive", "--quiet", "--ignore-nosec", "--format=json", *places.values(), cwd=ROOT
    )
    said = json.loads(done.stdout)
    if said["errors"]:
        raise ValueError(f"bandit cannot read {', '.join(each['filename'] for each in said['errors'])}")
    for name, place in places.items():
        verdict = verdicts[name]
        for each in said["results"]:
            if each["filename"].startswith(place):
                on = each["filename"].removeprefix(place)
                message = f"line {each['line_number']}: {each['issue_text']}"
                verdict.findings.append(Finding("bandit", name, each["test_id"], on, message))
        files = sum(file.startswith(place) for file in said["metrics"])
        verdict.passed = files - len({each.on for each in verdict.findings})
    return verdicts
