"""The schemas refuse what Kubernetes does not know, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.judges import schemas

POD = "io.k8s.api.core.v1.Pod"
DOCUMENT: dict[str, Any] = {
    "definitions": {
        POD: {
            "description": "left out",
            "type": "object",
            "required": ["spec"],
            "properties": {
                "metadata": {"$ref": f"#/definitions/{schemas.OBJECT_META}"},
                "spec": {"$ref": "#/definitions/Spec"},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "kind": "Pod", "version": "v1"}],
        },
        "Spec": {
            "type": "object",
            "properties": {
                "port": {"type": "string", "format": "int-or-string"},
                "memory": {"$ref": f"#/definitions/{schemas.QUANTITY}"},
                "labels": {"type": "object", "additionalProperties": {"type": "string", "description": "left out"}},
                "more": {"type": "array", "items": {"$ref": "#/definitions/Spec"}},
            },
        },
        schemas.OBJECT_META: {"type": "object", "properties": {"name": {"type": "string"}}},
        schemas.QUANTITY: {"type": "string"},
        "Unrelated": {"type": "object"},
    }
}


@pytest.fixture
def pod(tmp_path: Path) -> dict[str, Any]:
    definitions = schemas.definitions_of(DOCUMENT)
    schemas.write(tmp_path, schemas.of_kubernetes(DOCUMENT), definitions, {"v1_v1_pod.json"})
    whole: dict[str, Any] = json.loads((tmp_path / "v1_v1_pod.json").read_text(encoding="utf-8"))
    return whole


def test_a_kind_is_a_file_with_the_definitions_it_needs(pod: dict[str, Any]) -> None:
    assert pod["$ref"] == f"#/definitions/{POD}"
    assert set(pod["definitions"]) == {POD, "Spec", schemas.OBJECT_META, schemas.QUANTITY}


def test_unknown_fields_are_refused_and_required_ones_kept(pod: dict[str, Any]) -> None:
    definition = pod["definitions"][POD]
    assert definition == {
        "type": "object",
        "required": ["spec"],
        "additionalProperties": False,
        "properties": DOCUMENT["definitions"][POD]["properties"],
    }


def test_a_map_takes_any_key(pod: dict[str, Any]) -> None:
    labels = pod["definitions"]["Spec"]["properties"]["labels"]
    assert labels == {"type": "object", "additionalProperties": {"type": "string"}}


def test_numbers_where_strings_are_documented(pod: dict[str, Any]) -> None:
    assert pod["definitions"]["Spec"]["properties"]["port"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert {"type": "number"} in pod["definitions"][schemas.QUANTITY]["anyOf"]


def test_only_wanted_kinds_are_written(tmp_path: Path) -> None:
    schemas.write(tmp_path, schemas.of_kubernetes(DOCUMENT), schemas.definitions_of(DOCUMENT), set())
    assert not list(tmp_path.iterdir())


def test_a_custom_resource_has_the_metadata_of_all_objects() -> None:
    schema = {"type": "object", "properties": {"metadata": {"type": "object"}, "spec": {"type": "object"}}}
    crd = {
        "spec": {
            "group": "example.com",
            "names": {"kind": "Thing"},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}],
        }
    }
    ((name, thing),) = schemas.of_resource(crd)
    assert name == "example.com_v1_thing.json"
    assert thing["additionalProperties"] is False
    assert thing["properties"]["metadata"] == {"$ref": f"#/definitions/{schemas.OBJECT_META}"}
    assert {"apiVersion", "kind"} <= set(thing["properties"])


def test_what_preserves_unknown_fields_stays_open() -> None:
    schema = {"type": "object", "properties": {"a": {}}, "x-kubernetes-preserve-unknown-fields": True}
    assert "additionalProperties" not in schemas.strict(schema)


def test_alternatives_stay_open() -> None:
    schema = {"properties": {"a": {}, "b": {}}, "anyOf": [{"properties": {"a": {"minimum": 1}}}]}
    assert schemas.strict(schema)["anyOf"] == [{"properties": {"a": {"minimum": 1}}}]


def test_null_is_refused_where_it_is_not_named() -> None:
    assert schemas.strict({"type": "string", "nullable": True}) == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert schemas.strict({"type": "string"}) == {"type": "string"}
