"""JSON schemas that refuse what Kubernetes does not know, from its OpenAPI document and from CustomResourceDefinitions.

An API server drops unknown fields with a warning at best; here they are mistakes. So is null, which only ever is what a
template left behind.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

KEPT = {
    "$ref", "additionalProperties", "allOf", "anyOf", "enum", "exclusiveMaximum", "exclusiveMinimum", "items",
    "maximum", "maxItems", "maxLength", "maxProperties", "minimum", "minItems", "minLength", "minProperties",
    "multipleOf", "not", "oneOf", "pattern", "properties", "required", "type", "uniqueItems",
}  # fmt: skip
OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Documented as a string; numbers are read too. The pattern is apimachinery's (pkg/api/resource/quantity.go).
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
QUANTITY_SCHEMA: Schema = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"}]
}


def strict(schema: Schema) -> Schema:
    """A schema of OpenAPI 2 or of a CustomResourceDefinition as JSON schema, closed where it lists properties.

    What is below allOf, anyOf, oneOf and not stays open: it speaks of fields that are listed outside
    (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/).
    """
    out = {key: value for key, value in schema.items() if key in KEPT}
    if schema.get("x-kubernetes-int-or-string") or schema.get("format") == "int-or-string":
        out.pop("type", None)
        out["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in schema:
        out["properties"] = {name: strict(each) for name, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    if isinstance(schema.get("items"), dict):
        out["items"] = strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = strict(schema["additionalProperties"])
    return {"anyOf": [out, {"type": "null"}]} if schema.get("nullable") else out


def of_kubernetes(document: Schema) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each kind in an OpenAPI 2 document (api/openapi-spec/swagger.json)."""
    for name, definition in document["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            yield file_name(**kind), {"$ref": f"#/definitions/{name}"}


def of_resource(crd: Schema) -> Iterator[tuple[str, Schema]]:
    """File name and schema of each version in a CustomResourceDefinition."""
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema.setdefault("properties", {}).update(
            apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"$ref": f"#/definitions/{OBJECT_META}"}
        )
        yield file_name(spec["group"], version["name"], spec["names"]["kind"]), schema


def definitions_of(document: Schema) -> dict[str, Schema]:
    """The strict definitions of an OpenAPI 2 document."""
    definitions = {name: strict(each) for name, each in document["definitions"].items()}
    return {**definitions, QUANTITY: QUANTITY_SCHEMA}


def reachable(schema: Schema, definitions: dict[str, Schema]) -> dict[str, Schema]:
    """The definitions to which a schema refers, and those to which they refer in turn."""
    found: dict[str, Schema] = {}
    waiting = list(references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting.extend(references(found[name]))
    return found


def references(schema: object) -> Iterator[str]:
    """The names of the definitions to which a schema refers itself."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix("#/definitions/")
            else:
                yield from references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from references(each)


def file_name(group: str, version: str, kind: str) -> str:
    """Where the schema of a kind lies: apps_v1_deployment.json; kubeconform calls the core group by its version."""
    return f"{group or version}_{version}_{kind.lower()}.json"


def write(
    folder: Path, schemas: Iterable[tuple[str, Schema]], definitions: dict[str, Schema], wanted: set[str]
) -> None:
    """Write the wanted ones of these schemas, each with the definitions that it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas:
        if name in wanted:
            whole = {**schema, "definitions": reachable(schema, definitions)}
            (folder / name).write_text(json.dumps(whole), encoding="utf-8")
