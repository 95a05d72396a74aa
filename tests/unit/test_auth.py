import base64
import hmac
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from app.auth import MAX_TOKEN_CHARACTERS, InvalidTokenError, Principal, TokenVerifier
from app.keys import KeyFile, parse_jwks

ISSUER, AUDIENCE = "https://issuer.example.com", "links"

Mint = Callable[..., str]


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.fixture
def verifier(jwks_file: Path) -> TokenVerifier:
    return TokenVerifier(KeyFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=30)


def refused(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidTokenError) as raised:
        verifier.verify(token)
    return str(raised.value)


def test_accepts_a_good_token(verifier: TokenVerifier, mint: Mint) -> None:
    principal = verifier.verify(mint(scope="links:read links:write"))
    assert principal == Principal("alice", frozenset({"links:read", "links:write"}))


def test_a_token_may_have_no_scope(verifier: TokenVerifier, mint: Mint) -> None:
    assert verifier.verify(mint(scope=None)).scopes == frozenset()


@pytest.mark.parametrize("audience", [["other", AUDIENCE], [AUDIENCE], AUDIENCE])
def test_the_audience_may_be_one_of_several(verifier: TokenVerifier, mint: Mint, audience: object) -> None:
    assert verifier.verify(mint(aud=audience)).subject == "alice"


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_types_of_access_tokens(verifier: TokenVerifier, mint: Mint, kind: str) -> None:
    assert verifier.verify(mint(header={"typ": kind})).subject == "alice"


def test_unknown_header_parameters_are_ignored(verifier: TokenVerifier, mint: Mint) -> None:
    assert verifier.verify(mint(header={"x5t": "abc", "nonce": "n" * 600})).subject == "alice"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 3600}, "The token has expired."),
        ({"exp": None}, "The token is not valid."),
        ({"exp": "tomorrow"}, "The token is not valid."),
        ({"nbf": int(time.time()) + 3600}, "The token is not valid."),
        ({"iat": int(time.time()) + 3600}, "The token is not valid."),
        ({"aud": "other"}, "The token is not valid."),
        ({"aud": None}, "The token is not valid."),
        ({"iss": "https://evil.example"}, "The token is not valid."),
        ({"iss": None}, "The token is not valid."),
        ({"sub": None}, "The token is not valid."),
        ({"sub": 7}, "The token is not valid."),
        ({"sub": "x" * 256}, "The token's sub or scope is not valid."),
        ({"sub": "a\x00b"}, "The token's sub or scope is not valid."),
        ({"scope": ["links:write"]}, "The token's sub or scope is not valid."),
    ],
)
def test_refuses_wrong_claims(verifier: TokenVerifier, mint: Mint, claims: dict[str, Any], reason: str) -> None:
    assert refused(verifier, mint(**claims)) == reason


def test_times_have_some_leeway(verifier: TokenVerifier, mint: Mint) -> None:
    now = int(time.time())
    assert verifier.verify(mint(exp=now - 10, nbf=now + 10, iat=now + 10)).subject == "alice"


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "", "id+jwt"])
def test_refuses_other_types(verifier: TokenVerifier, mint: Mint, kind: str) -> None:
    assert refused(verifier, mint(header={"typ": kind})) == "The token is not an access token."


def test_refuses_a_type_that_is_no_string(verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
    header = encoded({"alg": "ES256", "typ": 1, "kid": signing_key.kid})
    _, claims, signature = mint().split(".")
    assert refused(verifier, f"{header}.{claims}.{signature}") == "The token is not valid."


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", ".".join(["e30"] * 5), "é.é.é", "W10.W10.W10"]
)
def test_refuses_what_is_no_token(verifier: TokenVerifier, token: str) -> None:
    assert refused(verifier, token) == "The token is not valid."


def test_refuses_a_huge_token_unread(verifier: TokenVerifier, mint: Mint) -> None:
    assert refused(verifier, mint(padding="x" * MAX_TOKEN_CHARACTERS)) == "The token is too long."


def test_refuses_alg_none(verifier: TokenVerifier, mint: Mint) -> None:
    claims = mint().split(".")[1]
    for name in ("none", "None", "NONE"):
        assert refused(verifier, f"{encoded({'alg': name})}.{claims}.") == "The token is not valid."


def test_refuses_a_public_key_used_as_hmac_secret(verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
    """The attacker knows the public key in each of its forms."""
    header = encoded({"alg": "HS256", "kid": signing_key.kid})
    signed = f"{header}.{mint().split('.')[1]}"
    public = signing_key.as_dict(private=False)
    forms = (
        signing_key.as_pem(private=False),
        signing_key.as_der(private=False),
        json.dumps(public).encode(),
    )
    for secret in forms:
        digest = hmac.digest(secret, signed.encode(), "sha256")
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert refused(verifier, f"{signed}.{signature}") == "The token is not valid."


def test_refuses_keys_the_token_brings_along(verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
    attacker = ECKey.generate_key("P-256")
    public = attacker.as_dict(private=False)
    for header in (
        {"jwk": public},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"jwk": public, "kid": "mine"},
        {"kid": signing_key.kid},
    ):
        assert refused(verifier, mint(key=attacker, header=header)) == "The token is not valid."


def test_refuses_a_changed_payload(verifier: TokenVerifier, mint: Mint) -> None:
    header, _, signature = mint().split(".")
    _, admin, _ = mint(sub="admin").split(".")
    assert refused(verifier, f"{header}.{admin}.{signature}") == "The token is not valid."


def test_refuses_an_unknown_critical_header(verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
    header = encoded({"alg": "ES256", "kid": signing_key.kid, "crit": ["exp"], "exp": 1})
    _, claims, signature = mint().split(".")
    assert refused(verifier, f"{header}.{claims}.{signature}") == "The token is not valid."


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", RSAKey.generate_key(2048)),
        ("ES256", ECKey.generate_key("P-256")),
        ("Ed25519", OKPKey.generate_key("Ed25519")),
        ("EdDSA", OKPKey.generate_key("Ed25519")),
    ],
)
def test_algorithms_accepted(tmp_path: Path, mint: Mint, algorithm: str, key: Any) -> None:
    path = tmp_path / "jwks"
    path.write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    verifier = TokenVerifier(KeyFile(path, parse_jwks), ISSUER, AUDIENCE, leeway=0)
    with warnings.catch_warnings(action="ignore", category=SecurityWarning):
        token = mint(key=key, header={"alg": algorithm, "kid": key.kid})
    assert verifier.verify(token).subject == "alice"


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "RS1"])
def test_algorithms_refused(tmp_path: Path, mint: Mint, algorithm: str) -> None:
    key = RSAKey.generate_key(2048)
    path = tmp_path / "jwks"
    path.write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    verifier = TokenVerifier(KeyFile(path, parse_jwks), ISSUER, AUDIENCE, leeway=0)
    if algorithm == "RS1":
        token = f"{encoded({'alg': 'RS1'})}.e30.AAAA"
    else:
        token = mint(key=key, header={"alg": algorithm, "kid": key.kid})
    assert refused(verifier, token) == "The token is not valid."


def test_a_key_for_encryption_does_not_sign(tmp_path: Path, mint: Mint) -> None:
    key = ECKey.generate_key("P-256", {"use": "enc"}, auto_kid=True)
    path = tmp_path / "jwks"
    other = ECKey.generate_key("P-256")
    path.write_text(json.dumps(KeySet([key, other]).as_dict(private=False)))
    verifier = TokenVerifier(KeyFile(path, parse_jwks), ISSUER, AUDIENCE, leeway=0)
    signer = ECKey.import_key({**key.as_dict(private=True), "use": "sig"})
    assert refused(verifier, mint(key=signer, header={"kid": key.kid})) == "The token is not valid."


class TestOverHttp:
    pytestmark = pytest.mark.anyio

    @staticmethod
    async def post(client: httpx.AsyncClient, *authorization: str) -> httpx.Response:
        headers = [("Authorization", value) for value in authorization]
        return await client.post("/api/v1/links", json={"url": "https://example.com"}, headers=headers)

    @pytest.mark.parametrize("authorization", [(), ("Basic YTpi",), ("Bearer",), ("",)])
    async def test_without_a_token(self, client: httpx.AsyncClient, authorization: tuple[str, ...]) -> None:
        answer = await self.post(client, *authorization)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="shipshape"'

    async def test_with_a_bad_token(self, client: httpx.AsyncClient, log_lines: Any) -> None:
        answer = await self.post(client, "Bearer a.b.c")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == (
            'Bearer realm="shipshape", error="invalid_token", error_description="The token is not valid."'
        )
        assert answer.json()["detail"] == "The token is not valid."
        assert "token refused" in [line["event"] for line in log_lines()]

    async def test_with_too_small_a_scope(self, client: httpx.AsyncClient, mint: Mint) -> None:
        answer = await self.post(client, f"Bearer {mint(scope='links:read')}")
        assert answer.status_code == 403
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope", scope="links:write"' in challenge

    async def test_with_two_tokens(self, client: httpx.AsyncClient, mint: Mint) -> None:
        answer = await self.post(client, f"Bearer {mint()}", f"Bearer {mint()}")
        assert answer.status_code == 400
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]

    async def test_scheme_in_any_case(self, client: httpx.AsyncClient, mint: Mint) -> None:
        assert (await self.post(client, f"bearer {mint()}")).status_code == 201
