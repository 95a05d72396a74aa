"""kubeconform: each object against the strict schema of its kind, in every version of Kubernetes."""

import json
from functools import cache
from pathlib import Path

import yaml

from tests.judges import schemas, tools
from tests.judges.scenarios import BAD, NAMES, Manifests, documents
from tests.judges.tools import Tools
from tests.judges.verdict import Finding, Verdicts, open_verdicts, scenario_of

# Group, version and kind, as `schemas.file_name` puts them together.
LOCATION = "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"
CHECKS = {"statusInvalid": "invalid", "statusError": "no-schema"}


def judge(programs: Tools, manifests: Manifests) -> Verdicts:
    verdicts = open_verdicts([*NAMES, BAD])
    for version in tools.versions():
        folder = manifests.of(version)
        location = programs.home / "schemas" / version
        write_schemas(location, version, kinds_in(folder))
        done = programs.run(
            "kubeconform", "-strict", "-verbose", "-output=json", "-kubernetes-version", version.removeprefix("v"),
            "-schema-location", location / LOCATION, folder,
        )  # fmt: skip
        for resource in json.loads(done.stdout)["resources"]:
            verdict = verdicts[scenario_of(resource["filename"])]
            if resource["status"] == "statusValid":
                verdict.passed += 1
                continue
            on = f"{resource['kind']}/{resource['name']}"
            check = CHECKS[resource["status"]]
            for error in resource.get("validationErrors") or [{"path": "", "msg": resource["msg"]}]:
                message = f"{version}: {error['path']} {error['msg']}"
                verdict.findings.append(Finding("kubeconform", verdict.scenario, check, on, message))
    return verdicts


def kinds_in(folder: Path) -> set[str]:
    """The names of the schemas that the manifests in a folder need."""
    found = set()
    for file in folder.iterdir():
        for _, there in documents(file.read_text(encoding="utf-8")):
            group, _, version = there["apiVersion"].rpartition("/")
            found.add(schemas.file_name(group, version, there["kind"]))
    return found


def write_schemas(folder: Path, version: str, wanted: set[str]) -> None:
    document = json.loads((tools.kubernetes(version) / "api/openapi-spec/swagger.json").read_bytes())
    definitions = schemas.definitions_of(document)
    schemas.write(folder, schemas.of_kubernetes(document), definitions, wanted)
    for crd in resources():
        schemas.write(folder, schemas.of_resource(crd), definitions, wanted)


@cache
def resources() -> list[schemas.Schema]:
    """The definitions of custom resources."""
    texts = (file.read_bytes() for file in tools.definitions())
    return [crd for text in texts for crd in yaml.load_all(text, Loader=yaml.CSafeLoader) if crd]
