"""kube-score: what makes an object dependable and safe."""

import json

from tests.judges import tools
from tests.judges.scenarios import BAD, NAMES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts

GOOD = 7  # a grade of 1 is critical, 5 a warning, 7 almost well


def judge(programs: Tools, manifests: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    newest = tools.versions()[-1]
    minor = ".".join(newest.split(".")[:2])
    folder = manifests.of(newest)
    for name, verdict in verdicts.items():
        # One at a time: it would match the policies of one scenario with the pods of another.
        done = programs.run(
            "kube-score", "score", "--output-format=json", f"--kubernetes-version={minor}",
            "--disable-ignore-checks-annotations", folder / f"{name}.yaml",
        )  # fmt: skip
        for scored in json.loads(done.stdout):
            on = f"{scored['type_meta']['kind']}/{scored['object_meta']['name']}"
            for each in scored["checks"]:
                if each["skipped"]:
                    continue
                if each["grade"] >= GOOD:
                    verdict.passed += 1
                    continue
                for comment in each["comments"] or [{"path": "", "summary": each["check"]["name"]}]:
                    message = f"{comment['path']} {comment['summary']}".strip()
                    verdict.findings.append(Finding("kube-score", name, each["check"]["id"], on, message))
    return verdicts
