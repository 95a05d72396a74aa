"""The blocks of docs/identity-providers.md, each with tokens as that provider makes them.

The issuer is a real HTTPS server of our own: its address takes the place of the provider's host, and nothing else of a
block is changed. Claims are those of the provider's documentation, with ids made up.
"""

import json
import re
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from keel.data import migrate
from keel.security.auth import Authenticator
from keel.security.keys import KeysUnavailableError
from tests.app.subject import SERVICE, Settings
from tests.support.issuer import Issuer

pytestmark = pytest.mark.anyio

DOCUMENT = Path(__file__).parents[2] / "docs" / "identity-providers.md"
INVALID, EXPECTED_SCOPE = 'error="invalid_token"', 'error="insufficient_scope", scope="links:write"'

Claims = dict[str, Any]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@dataclass
class Provider:
    """What a provider writes into tokens. None leaves a claim out; what is in none of the sets is as in `access`."""

    access: Claims
    without_scope: Claims
    wrong_audience: Claims
    id_token: Claims | None = None
    another: Claims = field(default_factory=dict)
    """Replaces the whole of `access`: a token of another kind that is accepted, too."""
    head: Claims = field(default_factory=dict)
    keys_path: str = "/keys"


def block(name: str) -> dict[str, str]:
    """Environment variables, from the document's chart values for a provider."""
    match = re.search(rf"^## {name}\n+```yaml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert match, f"{DOCUMENT} has no block for {name}"
    return {str(key): str(value) for key, value in yaml.safe_load(match[1])["config"].items()}


USER = "0f8fad5b-d9cb-469f-a165-70867728950e"

PROVIDERS = {
    "Keycloak": Provider(
        head={"typ": "JWT"},
        keys_path="/realms/example/protocol/openid-connect/certs",
        access={
            "jti": "onrtac:2b1c9f9a-6f6e-4f62-9d2c-5f3c1c7c8a11",
            "aud": ["links", "account"],
            "sub": USER,
            "typ": "Bearer",
            "azp": "shop",
            "sid": "f7b3b1c5-2f4c-4a39-8f6b-2b0d4f0f2a11",
            "acr": "1",
            "allowed-origins": ["https://shop.example.com"],
            "realm_access": {"roles": ["offline_access", "uma_authorization", "default-roles-example"]},
            "resource_access": {
                "links": {"roles": ["links:read", "links:write"]},
                "account": {"roles": ["manage-account", "view-profile"]},
            },
            "scope": "openid email profile",
            "email_verified": True,
            "preferred_username": "alice",
        },
        without_scope={"resource_access": {"links": {"roles": ["links:read"]}, "shop": {"roles": ["links:write"]}}},
        wrong_audience={"aud": "account"},
        # Even where the app is the client "links" itself.
        id_token={"aud": "links", "azp": "links", "typ": "ID", "at_hash": "Xb0cVp1tYJ7WQv9Qq3Zb5A", "nonce": "n-0S6"},
    ),
    "Entra ID": Provider(
        head={"typ": "JWT"},
        keys_path="/11111111-2222-3333-4444-555555555555/discovery/v2.0/keys",
        access={
            "aud": "66666666-7777-8888-9999-000000000000",
            "aio": "AXQAi/8TAAAAexample",
            "azp": "22222222-aaaa-bbbb-cccc-333333333333",
            "azpacr": "0",
            "name": "Alice Example",
            "oid": USER,
            "preferred_username": "alice@example.com",
            "rh": "0.AAAAexample.",
            "scp": "links:read links:write",
            "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
            "tid": "11111111-2222-3333-4444-555555555555",
            "uti": "fqiBqXLPj0eQa82S-IYFAA",
            "ver": "2.0",
        },
        # What the app was not given counts, and not what the user may do elsewhere.
        without_scope={"scp": "links:read", "roles": ["links:write"]},
        wrong_audience={"aud": "00000003-0000-0000-c000-000000000000"},
        id_token={
            "aud": "22222222-aaaa-bbbb-cccc-333333333333",
            "azp": None,
            "azpacr": None,
            "scp": None,
            "roles": ["links:write"],
            "nonce": "678910",
        },
        another={
            "aud": "66666666-7777-8888-9999-000000000000",
            "aio": "E2ZgYExample",
            "azp": "44444444-dddd-eeee-ffff-555555555555",
            "azpacr": "1",
            "oid": "99999999-8888-7777-6666-555555555555",
            "roles": ["links:write"],
            "sub": "99999999-8888-7777-6666-555555555555",
            "tid": "11111111-2222-3333-4444-555555555555",
            "ver": "2.0",
        },
    ),
    "Auth0": Provider(
        head={"typ": "JWT"},
        keys_path="/.well-known/jwks.json",
        access={
            "sub": "auth0|6553da60a54af58e29493993",
            "aud": ["https://links.example.com/api", "https://example.eu.auth0.com/userinfo"],
            "azp": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "scope": "openid profile links:write",
            "permissions": ["links:read", "links:write"],
        },
        without_scope={"permissions": ["links:read"]},
        wrong_audience={"aud": "https://example.eu.auth0.com/userinfo"},
        id_token={
            "aud": "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja",
            "azp": None,
            "scope": None,
            "permissions": None,
            "nonce": "n-0S6_WzA2Mj",
            "name": "Alice",
        },
    ),
    "Okta": Provider(
        keys_path="/oauth2/default/v1/keys",
        access={
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
            "aud": "api://default",
            "sub": "alice@example.com",
            "cid": "0oabucvyc38HLL1ef0h7",
            "uid": "00ujmkLgagxeRrAg20g4",
            "scp": ["openid", "links:read", "links:write"],
            "auth_time": 1_700_000_000,
        },
        without_scope={"scp": ["openid", "links:read"]},
        wrong_audience={"aud": "https://example.okta.com"},
        id_token={
            "jti": "ID.4eAWJOCMB3SX8XewDfVR",
            "aud": "0oabucvyc38HLL1ef0h7",
            "amr": ["pwd"],
            "cid": None,
            "uid": None,
            "scp": None,
            "at_hash": "cpqKfdQA5eH891Ff5oJr_Q",
        },
    ),
    "Amazon Cognito": Provider(
        keys_path="/eu-central-1_EXAMPLE01/.well-known/jwks.json",
        access={
            "sub": USER,
            "cognito:groups": ["eu-central-1_EXAMPLE01_Google", "editors"],
            "version": 2,
            "client_id": "1example23456789",
            "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-example",
            "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
            "token_use": "access",
            "scope": "openid links/read links/write",
            "auth_time": 1_700_000_000,
            "jti": "aaaaaaaa-bbbb-cccc-dddd-example",
            "username": "alice",
        },
        without_scope={"scope": "openid links:write links/read"},  # the map says what a name means, and no other does
        wrong_audience={"client_id": "9example87654321"},
        id_token={
            "aud": "1example23456789",
            "token_use": "id",
            "cognito:username": "alice",
            "version": None,
            "scope": None,
            "username": None,
            "at_hash": "4bbrpuoSqQC8example",
        },
    ),
    "Google": Provider(
        head={"typ": "JWT"},
        keys_path="/oauth2/v3/certs",
        access={
            "aud": "https://links.example.com",
            "azp": "112233445566778899000",
            "email": "orders@example-project.iam.gserviceaccount.com",
            "email_verified": True,
            "sub": "112233445566778899000",
        },
        without_scope={"azp": "998877665544332211000", "sub": "998877665544332211000"},
        wrong_audience={"aud": "https://other.example.com"},
        id_token={  # of a user who has logged in to an app
            "aud": "1234987819200.apps.googleusercontent.com",
            "azp": "1234987819200.apps.googleusercontent.com",
            "hd": "example.com",
            "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        },
    ),
    "Dex": Provider(
        keys_path="/keys",
        access={
            "sub": "CgcyMzQyNzQ5EgZnaXRodWI",
            "aud": ["links", "shop"],
            "azp": "shop",
            "email": "alice@example.com",
            "email_verified": True,
            "groups": ["example", "example:editors"],
            "name": "Alice Example",
        },
        without_scope={"groups": ["example", "example:readers"]},
        wrong_audience={"aud": "other"},
        id_token={"aud": "shop", "azp": None, "nonce": "n-0S6_WzA2Mj", "at_hash": "dK3Hu0GMFvQ5k2WvvzgZ6g"},
    ),
    "Kubernetes service accounts": Provider(
        keys_path="/openid/v1/jwks",
        access={
            "aud": ["links"],
            "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
            "kubernetes.io": {
                "namespace": "shop",
                "node": {"name": "worker-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
                "pod": {"name": "orders-0", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
                "serviceaccount": {"name": "orders", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
                "warnafter": 4_102_444_800,
            },
            "sub": "system:serviceaccount:shop:orders",
        },
        without_scope={"sub": "system:serviceaccount:shop:default"},
        wrong_audience={"aud": ["https://kubernetes.default.svc.cluster.local"]},
    ),
}


def test_each_provider_of_the_document_has_tokens() -> None:
    blocks = re.findall(r"^## (.+)\n+```yaml\nconfig:", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(blocks) == sorted(PROVIDERS)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_block_is_good_for_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"APP_ENVIRONMENT": "production", "APP_DATABASE_URL": "postgresql://links@db.example.com/links"}
    for variable, value in (block(name) | others).items():
        monkeypatch.setenv(variable, value)
    assert Settings.load().jwt_issuer == block(name)["APP_JWT_ISSUER"]


class Tokens:
    """Of one provider, signed by its key, good for a minute."""

    def __init__(self, issuer: str, key: Key, algorithm: str, head: Claims) -> None:
        self.issuer = issuer
        self.key = key
        self.algorithm = algorithm
        self.head = {"alg": algorithm, "kid": key.kid} | head

    def make(self, claims: Claims) -> str:
        now = int(time.time())
        given = {"iss": self.issuer, "iat": now, "exp": now + 60} | claims
        kept = {name: value for name, value in given.items() if value is not None}
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # of EdDSA's name
            return jwt.encode(self.head, kept, self.key, registry=JWSRegistry(algorithms=[self.algorithm]))


def has_keys(authenticator: Authenticator) -> bool:
    try:
        return bool(authenticator.verifier.keys.current())
    except KeysUnavailableError:
        return False


@asynccontextmanager
async def running(
    name: str, server: Issuer, key: Key, until: Until, monkeypatch: pytest.MonkeyPatch, certificate: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """A client of the service with a provider's block, and the issuer that stands in for the provider."""
    variables = block(name)
    issuer = server.origin + urlsplit(variables["APP_JWT_ISSUER"]).path
    keys_path = PROVIDERS[name].keys_path
    metadata = {"issuer": issuer, "jwks_uri": server.origin + keys_path, "subject_types_supported": ["public"]}
    server.pages = {
        urlsplit(issuer).path.removesuffix("/") + "/.well-known/openid-configuration": json.dumps(metadata).encode(),
        keys_path: json.dumps({"keys": [key.as_dict(private=False, use="sig")]}).encode(),
    }
    variables |= {
        "APP_ENVIRONMENT": "staging",
        "APP_JWT_ISSUER": issuer,
        "APP_DATABASE_URL": f"sqlite:///{certificate.parent}/links.db",
        "SSL_CERT_FILE": str(certificate),
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    settings = Settings.load()
    await migrate.migrate(settings)
    service = SERVICE.build(settings)
    transport = httpx.ASGITransport(service.public)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url=settings.public_url) as client,
    ):
        await until(lambda: has_keys(service.public.state.authenticator))
        yield client, issuer


async def create(client: httpx.AsyncClient, token: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await client.post("/api/v1/links", json={"url": "https://example.com/"}, headers=headers)


@pytest.mark.parametrize("name", PROVIDERS)
async def test_tokens_of_a_provider(
    name: str, issuer: Issuer, certificate: Path, until: Until, log_lines: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    del log_lines
    provider = PROVIDERS[name]
    key = RSAKey.generate_key(2048, auto_kid=True)  # all of them sign by RS256 unless told otherwise
    async with running(name, issuer, key, until, monkeypatch, certificate) as (client, iss):
        tokens = Tokens(iss, key, "RS256", provider.head)
        accepted = await create(client, tokens.make(provider.access))
        assert accepted.status_code == 201, accepted.text
        assert (await client.get("/api/v1/links", headers=accepted.request.headers)).status_code == 200
        if provider.another:
            assert (await create(client, tokens.make(provider.another))).status_code == 201

        refused = await create(client, tokens.make(provider.access | provider.without_scope))
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
        assert EXPECTED_SCOPE in refused.headers["www-authenticate"]
        assert refused.json()["detail"] == "The token lacks a scope: this needs links:write."

        for wrong in (provider.wrong_audience, provider.id_token):
            if wrong is None:
                continue
            refused = await create(client, tokens.make(provider.access | wrong))
            assert (refused.status_code, refused.headers["content-type"]) == (401, "application/problem+json")
            assert INVALID in refused.headers["www-authenticate"]

        elsewhere = tokens.make(provider.access | {"iss": "https://issuer.example.com"})
        assert (await create(client, elsewhere)).status_code == 401


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS512", RSAKey.generate_key(2048, auto_kid=True)),
        ("PS256", RSAKey.generate_key(2048, auto_kid=True)),
        ("ES384", ECKey.generate_key("P-384", auto_kid=True)),
        ("EdDSA", OKPKey.generate_key("Ed25519", auto_kid=True)),
    ],
)
async def test_a_realm_that_signs_otherwise(
    algorithm: str,
    key: Key,
    issuer: Issuer,
    certificate: Path,
    until: Until,
    log_lines: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keycloak lets one choose; and of a realm that is told to, the head says at+jwt."""
    del log_lines
    provider = PROVIDERS["Keycloak"]
    async with running("Keycloak", issuer, key, until, monkeypatch, certificate) as (client, iss):
        made = await create(client, Tokens(iss, key, algorithm, {"typ": "at+jwt"}).make(provider.access))
        assert made.status_code == 201
