"""kubectl-validate: each object as an API server's own code validates it, in every version of Kubernetes."""

import json
from pathlib import Path

from tests.judges import tools
from tests.judges.scenarios import BAD, NAMES, Manifests
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts


def judge(programs: Tools, manifests: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    definitions = programs.home / "definitions"
    definitions.mkdir()
    for number, file in enumerate(tools.definitions()):
        (definitions / f"{number}.yaml").symlink_to(file)
    for version in tools.versions():
        documents = programs.home / "openapi" / version
        lay_out(tools.kubernetes(version) / "api/openapi-spec/v3", documents)
        # No version: it would look for its own schemas, which end with 1.30, and then on the network.
        done = programs.run(
            "kubectl-validate", "--version=", f"--local-schemas={documents}", f"--local-crds={definitions}",
            "--output=json", manifests.objects(version),
        )  # fmt: skip
        # The last line tells the exit status in words.
        answers, _ = json.JSONDecoder().raw_decode(done.stdout)
        for path, statuses in answers.items():
            verdict = verdicts[Path(path).parent.name]
            (status,) = statuses
            if status["status"] == "Success":
                verdict.passed += 1
                continue
            on = Path(path).stem.replace("=", "/", 1)
            check = "no-schema" if "failed to retrieve validator" in status["message"] else "invalid"
            message = f"{version}: {status['message']}"
            verdict.findings.append(Finding("kubectl-validate", verdict.scenario, check, on, message))
    return verdicts


def lay_out(source: Path, target: Path) -> None:
    """The documents of OpenAPI 3 under the names that kubectl-validate looks for: apis/apps/v1.json."""
    for file in [*source.glob("api__*_openapi.json"), *source.glob("apis__*__*_openapi.json")]:
        link = target / (file.name.removesuffix("_openapi.json").replace("__", "/") + ".json")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
