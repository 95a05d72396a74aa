from typing import Any

import pytest

from keel.http.openapi import complete
from tests.kit.subject import SERVICE, Settings

GUARDED = {"get /api/v1/things", "post /api/v1/things", "delete /api/v1/things/{name}"}
METHODS = {"get", "head", "post", "put", "patch", "delete"}


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return SERVICE.build(settings).public.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def resolve(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in value:
        target: Any = document
        for token in value["$ref"].removeprefix("#/").split("/"):
            target = target[token]
        value = target
    return value


def test_errors_are_problems_with_an_example(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status, given in operation["responses"].items():
            if status < "400":
                continue
            response = resolve(document, given)
            assert list(response["content"]) == ["application/problem+json"], (name, status)
            content = response["content"]["application/problem+json"]
            shape = resolve(document, content["schema"])
            assert set(shape["required"]) <= set(content["example"]) <= set(shape["properties"])
            assert content["example"]["status"] == int(status)
            assert response["description"] == content["example"]["title"]
    assert "HTTPValidationError" not in str(document)


def test_every_operation_tells_what_any_request_may_get(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        expected = {"400", "408", "413", "414", "421", "429", "431", "500", "501", "503", "505"}
        if "requestBody" in operation:
            expected |= {"415", "422"}
        if operation.get("security"):
            expected |= {"401", "403"}
        assert expected <= set(operation["responses"]), name
        assert list(operation["responses"]) == sorted(operation["responses"])


def test_everything_has_a_name_a_summary_and_a_tag_that_is_explained(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name


def test_tokens(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert [(scheme["type"], scheme["scheme"], scheme["bearerFormat"]) for scheme in schemes.values()] == [
        ("http", "bearer", "JWT")
    ]
    for name, operation in operations(document):
        assert bool(operation.get("security")) == (name in GUARDED), name
        for scopes in operation.get("security", []):
            for scope in (scope for needed in scopes.values() for scope in needed):
                assert scope in operation["description"], name


def test_where_it_is_served(document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": "https://probe.example.com"}]
    assert document["openapi"].startswith("3.1.")
    assert "X-Request-ID" in document["info"]["description"]


def test_it_is_made_once(settings: Settings) -> None:
    app = SERVICE.build(settings).public
    assert app.openapi() is app.openapi()


def test_a_service_without_problems_of_its_own() -> None:
    document: dict[str, Any] = {"paths": {"/": {"get": {"responses": {"200": {}}}}}}
    complete(document, {})
    assert {"ProblemDetails", "FieldError"} <= set(document["components"]["schemas"])
