"""hadolint: Dockerfiles, and the shell in them. What is explained, is so in one file and not inside of them."""

import json

from tests.chart.helm import ROOT
from tests.judges.scenarios import BAD, BAD_FILES, DOCKERFILES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts

NAMES = [str(file.relative_to(ROOT)) for file in DOCKERFILES]


def judge(programs: Tools, _: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    bad = str((BAD_FILES / "Dockerfile").relative_to(ROOT))
    done = programs.run("hadolint", "--disable-ignore-pragma", "--format=json", *NAMES, bad, cwd=ROOT)
    for each in json.loads(done.stdout):
        verdict = verdicts[BAD if each["file"] == bad else each["file"]]
        message = f"line {each['line']}: {each['message']}"
        verdict.findings.append(Finding("hadolint", verdict.scenario, each["code"], each["file"], message))
    for verdict in verdicts.values():
        verdict.passed = int(not verdict.findings)  # it tells of nothing else
    return verdicts
