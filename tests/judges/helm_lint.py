"""helm lint, strict: the chart as a chart, with each file of values."""

import re

from tests.chart.helm import CHART
from tests.judges.scenarios import BAD, BAD_FILES, FILES, NAMES, Manifests, image_of
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts


def judge(programs: Tools, _: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    for name, file in {**FILES, BAD: BAD_FILES / "values.yaml"}.items():
        done = programs.run("helm", "lint", "--strict", CHART, f"--values={file}", *image_of(file))
        verdict = verdicts[name]
        for level, message in re.findall(r"^\[(WARNING|ERROR)\] (.*)$", done.stdout + done.stderr, flags=re.MULTILINE):
            verdict.findings.append(Finding("helm lint", name, level.lower(), CHART.name, message))
        if done.returncode == 0:
            verdict.passed = 1
        elif not verdict.findings:
            verdict.findings.append(Finding("helm lint", name, "error", CHART.name, done.stdout + done.stderr))
    return verdicts
