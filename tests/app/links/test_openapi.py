from typing import Any

import pytest

from app.links.schemas import LinkPatch, NewLink
from app.links.urls import UrlPolicy
from app.links.validation import accept
from tests.app.subject import SERVICE, Settings

ANYWHERE = {"400", "408", "413", "414", "421", "429", "431", "500", "501", "503", "505"}
BODY = {"415", "422"}


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return SERVICE.build(settings).public.openapi()


@pytest.mark.parametrize(
    ("method", "path", "name", "scopes", "answers"),
    [
        ("post", "/api/v1/links", "create_link", ["links:write"], {"201", "401", "403", "409", *BODY}),
        ("get", "/api/v1/links", "list_links", ["links:read"], {"200", "401", "403", "422"}),
        ("get", "/api/v1/links/{slug}", "read_link", ["links:read"], {"200", "304", "401", "403", "404", "412"}),
        ("get", "/api/v1/links/{slug}/clicks", "read_clicks", ["links:read"], {"200", "401", "403", "404"}),
        (
            *("patch", "/api/v1/links/{slug}", "change_link", ["links:write"]),
            {"200", "401", "403", "404", "409", "412", *BODY},
        ),
        ("delete", "/api/v1/links/{slug}", "delete_link", ["links:write"], {"204", "401", "403", "404", "409", "412"}),
        ("get", "/{slug}", "follow_link", None, {"307", "404", "410"}),
    ],
)
def test_says_what_a_route_needs_and_answers(
    document: dict[str, Any], method: str, path: str, name: str, scopes: list[str] | None, answers: set[str]
) -> None:
    operation = document["paths"][path][method]
    assert operation["operationId"] == name
    assert operation.get("security") == (None if scopes is None else [{"HTTPBearer": scopes}])
    assert set(operation["responses"]) - {"422"} == (answers | ANYWHERE) - {"422"}
    assert operation["summary"]
    assert operation["description"]


def test_shows_each_route_once(document: dict[str, Any]) -> None:
    methods = {path: set(item) for path, item in document["paths"].items()}
    assert methods["/api/v1/links"] == {"get", "post"}
    assert methods["/api/v1/links/{slug}"] == {"get", "patch", "delete"}
    assert methods["/{slug}"] == {"get"}


def test_describes_its_tags(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    used = {tag for path in document["paths"].values() for operation in path.values() for tag in operation["tags"]}
    assert used - {"identity"} <= described


@pytest.mark.parametrize(
    ("path", "method", "status", "headers"),
    [
        ("/api/v1/links", "post", "201", {"Location", "ETag", "Idempotent-Replayed"}),
        ("/api/v1/links", "post", "401", {"WWW-Authenticate"}),
        ("/api/v1/links", "get", "200", {"Link"}),
        ("/api/v1/links/{slug}", "get", "200", {"ETag"}),
        ("/api/v1/links/{slug}", "get", "304", {"ETag"}),
        ("/api/v1/links/{slug}", "patch", "200", {"ETag"}),
        ("/api/v1/links/{slug}", "patch", "412", {"ETag"}),
        ("/{slug}", "get", "307", {"Location"}),
    ],
)
def test_names_headers(document: dict[str, Any], path: str, method: str, status: str, headers: set[str]) -> None:
    assert document["paths"][path][method]["responses"][status]["headers"].keys() == headers


@pytest.mark.parametrize(
    ("path", "method", "parameters"),
    [
        ("/api/v1/links", "post", {"Idempotency-Key"}),
        ("/api/v1/links", "get", {"limit", "cursor", "owner"}),
        ("/api/v1/links/{slug}", "get", {"slug", "If-None-Match"}),
        ("/api/v1/links/{slug}", "patch", {"slug", "If-Match"}),
        ("/api/v1/links/{slug}", "delete", {"slug", "If-Match"}),
    ],
)
def test_describes_parameters(document: dict[str, Any], path: str, method: str, parameters: set[str]) -> None:
    found = {entry["name"]: entry for entry in document["paths"][path][method]["parameters"]}
    assert found.keys() == parameters
    assert all(entry["description"] for entry in found.values())


def test_a_patch_is_a_merge_patch(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/v1/links/{slug}"]["patch"]["requestBody"]
    assert list(body["content"]) == ["application/merge-patch+json"]
    properties = document["components"]["schemas"]["LinkPatch"]["properties"]
    assert not any("default" in entry for entry in properties.values())


@pytest.mark.parametrize("model", [NewLink, LinkPatch])
def test_the_examples_are_accepted(document: dict[str, Any], model: type[NewLink | LinkPatch]) -> None:
    examples = document["components"]["schemas"][model.__name__]["examples"]
    assert len(examples) >= 2
    for example in examples:
        accept(model.model_validate(example), UrlPolicy(["links.example.com"]))
