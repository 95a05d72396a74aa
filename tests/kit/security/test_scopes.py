"""Which claim of a token holds the scopes, and what its values mean."""

from typing import Any

import pytest

from keel.security.scopes import Scopes
from keel.settings.claims import parse_claims, parse_meanings

KEYCLOAK: dict[str, Any] = {
    "scope": "email profile",
    "realm_access": {"roles": ["realm:role"]},
    "resource_access": {"things": {"roles": ["things:read"]}, "a.b/c~d": {"roles": ["dotted"]}},
}


def read(claims: str, token: dict[str, Any], meanings: str = "") -> set[str]:
    return set(Scopes(parse_claims(claims), parse_meanings(meanings)).read(token))


@pytest.mark.parametrize(
    ("claims", "token", "scopes"),
    [
        ("scope", {"scope": "a b"}, {"a", "b"}),
        ("scope", {"scope": ["a", "b c"]}, {"a", "b c"}),
        ("scp", {"scp": "a b", "scope": "c"}, {"a", "b"}),
        ("scp", {"scp": ["a"]}, {"a"}),
        ("scp, roles", {"scp": "a", "roles": ["b"]}, {"a"}),
        ("scp,roles", {"roles": ["b"]}, {"b"}),
        ("scp,roles", {"scp": None, "roles": ["b"]}, {"b"}),
        ("scp,roles", {"scp": "", "roles": ["b"]}, set()),
        ("roles", {"roles": []}, set()),
        ("roles", {"roles": ["", "a"]}, {"a"}),
        ("roles", {"scope": "a"}, set()),
        ("permissions", {"permissions": ["a"]}, {"a"}),
        ("cognito:groups", {"cognito:groups": ["a"]}, {"a"}),
        ("https://example.com/roles", {"https://example.com/roles": ["a"]}, {"a"}),
        ("/https:~1~1example.com~1roles", {"https://example.com/roles": ["a"]}, {"a"}),
        ("/realm_access/roles", KEYCLOAK, {"realm:role"}),
        ("/resource_access/things/roles", KEYCLOAK, {"things:read"}),
        ("/resource_access/a.b~1c~0d/roles", KEYCLOAK, {"dotted"}),
        ("/resource_access/other/roles", KEYCLOAK, set()),
        ("/resource_access/things/roles/0", KEYCLOAK, set()),
        ("/scope/x", KEYCLOAK, set()),
        ("/kubernetes.io/namespace", {"kubernetes.io": {"namespace": "shop"}}, {"shop"}),
        ("/x~01", {"x~1": ["a"]}, {"a"}),
    ],
)
def test_where_they_are(claims: str, token: dict[str, Any], scopes: set[str]) -> None:
    assert read(claims, token) == scopes


def test_of_a_name_with_spaces_nobody_becomes_another() -> None:
    for name in ("email", "sub", "/profile/name"):
        token = {"email": "x root y", "sub": "x root y", "profile": {"name": "x root y"}}
        assert read(name, token) == {"x root y"}
        assert read(name, token, '{"root": "things:admin"}') == set()


@pytest.mark.parametrize("value", [7, True, {}, {"things:write": True}, [["a"]], ["a", 1], [None]])
def test_what_is_no_list_of_names(value: object) -> None:
    with pytest.raises(ValueError, match="roles is neither a string nor a list of strings"):
        read("roles", {"roles": value})


def test_what_values_mean() -> None:
    meanings = '{"editors": "things:read things:write", "readers": "things:read", "things/x": "x"}'
    assert read("groups", {"groups": ["readers"]}, meanings) == {"things:read"}
    assert read("groups", {"groups": ["readers", "editors"]}, meanings) == {"things:read", "things:write"}
    assert read("groups", {"groups": "editors"}, meanings) == {"things:read", "things:write"}
    assert read("scope", {"scope": "openid things/x"}, meanings) == {"x"}


def test_what_the_map_does_not_list_gives_nothing() -> None:
    assert read("groups", {"groups": ["things:write", "EDITORS", "editors "]}, '{"editors": "things:write"}') == set()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "one has no name"),
        ("scope,", "one has no name"),
        ("scope,,scp", "one has no name"),
        ("realm_access.roles", "must be /realm_access/roles for a path, or /realm_access.roles for a name with a dot"),
        ("/", "a name in '/' is empty"),
        ("/realm_access/", "a name in '/realm_access/' is empty"),
        ("//roles", "is empty"),
        ("/a~b", "must have ~0 for ~ and ~1 for / in a name of a path"),
        ("/a~", "must have ~0 for ~"),
        ("/a~2", "must have ~0 for ~"),
    ],
)
def test_no_claim(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="must") as raised:
        parse_claims(text)
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("editors=things:write", "Expecting value"),
        ("[]", "must be a JSON object of values and their scopes, such as"),
        ("{}", "must be a JSON object of values and their scopes, such as"),
        ('{"a": "x", "a": "y"}', "it names a member twice"),
        ('{"a": ["things:write"]}', "'a' needs a string of scopes"),
        ('{"a": " "}', "'a' needs a string of scopes"),
        ('{"": "things:write"}', "'' needs a string of scopes"),
    ],
)
def test_no_map(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="must be a JSON object") as raised:
        parse_meanings(text)
    assert sentence in str(raised.value)
