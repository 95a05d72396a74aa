"""What is a token and what is not: each known attack has its test."""

import base64
import hmac
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from keel.security.keys import JwksFile, KeySource, parse_jwks
from keel.security.tokens import InvalidTokenError, Principal, TokenExpiredError, TokenVerifier
from keel.security.tokens import UnknownKeyError as UnknownKey

ISSUER, AUDIENCE = "https://issuer.example.com", "probe"
NOT_VALID = "The token is not valid."
ODD_ALG: list[Any] = ["none", "None", "NONE", "nOnE", "", "ES256 ", "es256", 1, None, ["ES256"]]
ODD_TYP: list[Any] = [1, [], {}]
ODD_KID: list[Any] = [1, None, ["x"], {}]
ODD_CRIT: list[Any] = [[], ["exp"], ["alg"], ["kid"], "exp", {}, None]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Mint = Callable[..., str]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(part: object) -> str:
    return b64(json.dumps(part).encode())


@pytest.fixture
def verifier(jwks_file: Path) -> TokenVerifier:
    return TokenVerifier(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=30)


@pytest.fixture
def verifier_of(tmp_path: Path) -> Callable[..., TokenVerifier]:
    def make(*keys: Any) -> TokenVerifier:
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": [key.as_dict(private=False) for key in keys]}))
        return TokenVerifier(JwksFile(path, parse_jwks), ISSUER, AUDIENCE, leeway=0)

    return make


@pytest.fixture
def sign(signing_key: ECKey) -> Callable[..., str]:
    """Signs any bytes as header and payload, as an issuer would that writes odd tokens."""

    def sign(payload: bytes, header: bytes | None = None) -> str:
        head = header or json.dumps({"alg": "ES256", "kid": signing_key.kid}).encode()
        signed = f"{b64(head)}.{b64(payload)}"
        model = JWSRegistry.algorithms["ES256"]
        return f"{signed}.{b64(model.sign(signed.encode(), signing_key))}"

    return sign


def claims(**others: Any) -> dict[str, Any]:
    return {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": int(time.time()) + 60} | others


def refused(verifier: TokenVerifier, token: str | bytes) -> str:
    with pytest.raises(InvalidTokenError) as raised:
        verifier.verify(token.encode() if isinstance(token, str) else token)
    assert verifier.recall(token.encode() if isinstance(token, str) else token) is None
    return str(raised.value)


def accepted(verifier: TokenVerifier, token: str) -> Principal:
    return verifier.verify(token.encode())


class TestAccepted:
    def test_a_good_token(self, verifier: TokenVerifier, mint: Mint) -> None:
        principal = accepted(verifier, mint(scope="things:read things:write"))
        assert principal == Principal("alice", frozenset({"things:read", "things:write"}))

    def test_signed_bytes_as_they_are(self, verifier: TokenVerifier, sign: Callable[..., str]) -> None:
        """Proves that the refusals of odd payloads below are not for a wrong signature."""
        assert accepted(verifier, sign(json.dumps(claims()).encode())).subject == "alice"

    @pytest.mark.parametrize("audience", [["other", AUDIENCE], [AUDIENCE], AUDIENCE])
    def test_audience_is_one_of_several(self, verifier: TokenVerifier, mint: Mint, audience: object) -> None:
        assert accepted(verifier, mint(aud=audience)).subject == "alice"

    @pytest.mark.parametrize("kind", ["JWT", "at+jwt", "AT+JWT", "application/at+jwt"])
    def test_types(self, verifier: TokenVerifier, mint: Mint, kind: str) -> None:
        assert accepted(verifier, mint(header={"typ": kind})).subject == "alice"

    def test_unknown_header_parameters_are_ignored(self, verifier: TokenVerifier, mint: Mint) -> None:
        assert accepted(verifier, mint(header={"x5t": "abc", "nonce": "n" * 600})).subject == "alice"

    def test_times_have_some_leeway(self, verifier: TokenVerifier, mint: Mint) -> None:
        now = int(time.time())
        assert accepted(verifier, mint(exp=now - 10, nbf=now + 10, iat=now + 10)).subject == "alice"

    def test_exp_may_be_a_fraction_or_far(self, verifier: TokenVerifier, mint: Mint) -> None:
        for expires in (time.time() + 60.5, 4102444800):
            assert accepted(verifier, mint(exp=expires)).subject == "alice"

    @pytest.mark.parametrize(
        ("given", "scopes"),
        [
            ({"scope": None}, set()),
            ({"scope": ""}, set()),
            ({"scope": " a  b "}, {"a", "b"}),
            ({"scope": "a\tb"}, {"a\tb"}),
            ({"scope": None, "scp": ["a", "b"]}, {"a", "b"}),
            ({"scope": None, "scp": "a b"}, {"a", "b"}),
            ({"scope": None, "scp": ["a b"]}, {"a b"}),
            ({"scope": ["a", "b"]}, {"a", "b"}),
            ({"scope": "a", "scp": ["admin"]}, {"a"}),
        ],
    )
    def test_scopes(self, verifier: TokenVerifier, mint: Mint, given: dict[str, Any], scopes: set[str]) -> None:
        assert accepted(verifier, mint(**given)).scopes == scopes

    @pytest.mark.parametrize(
        ("algorithm", "key"),
        [
            *((name, RSAKey.generate_key(2048)) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
            ("ES256", ECKey.generate_key("P-256")),
            ("ES384", ECKey.generate_key("P-384")),
            ("ES512", ECKey.generate_key("P-521")),
            ("Ed25519", OKPKey.generate_key("Ed25519")),
            ("EdDSA", OKPKey.generate_key("Ed25519")),
        ],
    )
    def test_algorithms(self, verifier_of: Any, mint: Mint, algorithm: str, key: Any) -> None:
        key.ensure_kid()
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):
            token = mint(key=key, header={"alg": algorithm, "kid": key.kid})
        assert accepted(verifier_of(key), token).subject == "alice"

    def test_without_kid_if_there_is_but_one_key(self, verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
        assert accepted(verifier, without_kid(mint, signing_key)).subject == "alice"


def without_kid(mint: Mint, key: Any, **claims: Any) -> str:
    """`mint` adds one, and so does joserfc for a set of keys."""
    _, payload, _ = mint(**claims).split(".")
    signed = f"{encoded({'alg': 'ES256'})}.{payload}"
    return f"{signed}.{b64(JWSRegistry.algorithms['ES256'].sign(signed.encode(), key))}"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"exp": None}, NOT_VALID),
        ({"exp": "tomorrow"}, NOT_VALID),
        ({"exp": str(int(time.time()) + 60)}, NOT_VALID),
        ({"exp": True}, NOT_VALID),
        ({"exp": [4102444800]}, NOT_VALID),
        ({"exp": 1e300}, NOT_VALID),
        ({"exp": 10**30}, NOT_VALID),
        ({"nbf": int(time.time()) + 3600}, NOT_VALID),
        ({"nbf": "0"}, NOT_VALID),
        ({"nbf": -(10**30)}, NOT_VALID),
        ({"iat": int(time.time()) + 3600}, NOT_VALID),
        ({"aud": "other"}, NOT_VALID),
        ({"aud": ["other"]}, NOT_VALID),
        ({"aud": []}, NOT_VALID),
        ({"aud": [AUDIENCE, 7]}, NOT_VALID),
        ({"aud": AUDIENCE + "x"}, NOT_VALID),
        ({"aud": {AUDIENCE: 1}}, NOT_VALID),
        ({"aud": None}, NOT_VALID),
        ({"iss": "https://evil.example"}, NOT_VALID),
        ({"iss": ISSUER + "/"}, NOT_VALID),
        ({"iss": [ISSUER]}, NOT_VALID),
        ({"iss": None}, NOT_VALID),
        ({"sub": None}, NOT_VALID),
        ({"sub": ""}, NOT_VALID),
        ({"sub": 7}, NOT_VALID),
        ({"sub": "x" * 256}, "The token's sub or scope is not valid."),
        ({"sub": "a\x00b"}, "The token's sub or scope is not valid."),
        ({"sub": "a\nb"}, "The token's sub or scope is not valid."),
        ({"scope": [["things:write"]]}, "The token's sub or scope is not valid."),
        ({"scope": {"things:write": 1}}, "The token's sub or scope is not valid."),
        ({"scope": None, "scp": [["things:write"]]}, "The token's sub or scope is not valid."),
        ({"scope": None, "scp": 7}, "The token's sub or scope is not valid."),
    ],
)
def test_refuses_wrong_claims(verifier: TokenVerifier, mint: Mint, wrong: dict[str, Any], reason: str) -> None:
    assert refused(verifier, mint(**wrong)) == reason


def test_refuses_an_expired_token(verifier: TokenVerifier, mint: Mint) -> None:
    with pytest.raises(TokenExpiredError, match=r"The token has expired\."):
        verifier.verify(mint(exp=int(time.time()) - 31).encode())


class TestAudienceClaim:
    """Of Amazon Cognito, whose access tokens have no aud."""

    @pytest.fixture
    def verifier(self, jwks_file: Path) -> TokenVerifier:
        return TokenVerifier(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=0, audience_claim="client_id")

    def test_it_names_the_audience(self, verifier: TokenVerifier, mint: Mint) -> None:
        assert accepted(verifier, mint(aud=None, client_id=AUDIENCE, token_use="access")).subject == "alice"
        typed = mint(aud=None, client_id=AUDIENCE, header={"typ": "at+jwt"})
        assert accepted(verifier, typed).subject == "alice"

    @pytest.mark.parametrize("client", ["other", None, "", [AUDIENCE], [], {}, 7, True, AUDIENCE + " "])
    def test_another_is_refused(self, verifier: TokenVerifier, mint: Mint, client: object) -> None:
        assert refused(verifier, mint(aud=None, client_id=client, token_use="access")) == NOT_VALID

    @pytest.mark.parametrize("audience", ["other", ["other"], [], "", 7])
    def test_an_aud_besides_is_not_passed_over(self, verifier: TokenVerifier, mint: Mint, audience: object) -> None:
        assert refused(verifier, mint(aud=audience, client_id=AUDIENCE, token_use="access")) == NOT_VALID
        assert accepted(verifier, mint(aud=[AUDIENCE, "b"], client_id=AUDIENCE, token_use="access")).subject == "alice"

    def test_aud_is_not_enough(self, verifier: TokenVerifier, mint: Mint) -> None:
        assert refused(verifier, mint(token_use="access")) == NOT_VALID

    @pytest.mark.parametrize("use", ["id", "refresh", "ACCESS", "", ["access"], None, 1])
    def test_an_id_token_is_refused(self, verifier: TokenVerifier, mint: Mint, use: object) -> None:
        for audience in (None, AUDIENCE):
            token = mint(aud=audience, client_id=AUDIENCE, token_use=use)
            assert refused(verifier, token) == "The token is not an access token."

    def test_client_id_alone_is_not_enough_by_default(self, jwks_file: Path, mint: Mint) -> None:
        verifier = TokenVerifier(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=0)
        assert refused(verifier, mint(aud=None, client_id=AUDIENCE, token_use="access")) == NOT_VALID


@pytest.mark.parametrize("claims", [{"token_use": "id"}, {"token_use": ["access"]}, {"token_use": 1}, {"typ": "ID"}])
def test_refuses_what_calls_itself_something_else(
    verifier: TokenVerifier, mint: Mint, claims: dict[str, object]
) -> None:
    assert refused(verifier, mint(**claims)) == "The token is not an access token."


@pytest.mark.parametrize("claims", [{"token_use": "access"}, {"typ": "Bearer"}, {"typ": ["ID"]}])
def test_takes_what_calls_itself_an_access_token(
    verifier: TokenVerifier, mint: Mint, claims: dict[str, object]
) -> None:
    assert accepted(verifier, mint(**claims)).subject == "alice"


class TestCache:
    def test_a_verified_token_is_recalled(self, verifier: TokenVerifier, mint: Mint) -> None:
        token = mint().encode()
        assert verifier.recall(token) is None
        assert verifier.verify(token) is verifier.recall(token)
        assert verifier.recall(token[:-1]) is None

    def test_no_longer_than_it_is_valid(self, jwks_file: Path, mint: Mint) -> None:
        now = time.time()
        verifier = TokenVerifier(JwksFile(jwks_file, parse_jwks), ISSUER, AUDIENCE, leeway=30, clock=lambda: now)
        token = mint(exp=int(now) + 60).encode()
        verifier.verify(token)
        now = int(now) + 89.9
        assert verifier.recall(token)
        now = int(now) + 1
        assert verifier.recall(token) is None
        with pytest.raises(TokenExpiredError):
            verifier.verify(token)

    def test_not_when_its_key_is_gone(self, jwks_file: Path, mint: Mint) -> None:
        verifier = TokenVerifier(JwksFile(jwks_file, parse_jwks, pause=0), ISSUER, AUDIENCE, leeway=30)
        token = mint().encode()
        verifier.verify(token)
        jwks_file.write_text(json.dumps(KeySet([ECKey.generate_key("P-256")]).as_dict(private=False)))
        assert verifier.recall(token) is None
        with pytest.raises(UnknownKey):
            verifier.verify(token)


class TestForm:
    @pytest.mark.parametrize(
        "token",
        [
            "",
            "x",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "e30.e30.",
            ".".join(["e30"] * 5),
            "é.é.é",
            "W10.W10.W10",
            "bnVsbA.e30.e30",
        ],
    )
    def test_refuses_what_is_no_token(self, verifier: TokenVerifier, token: str) -> None:
        assert refused(verifier, token) == NOT_VALID

    def test_takes_a_token_that_names_hundreds_of_groups(self, verifier: TokenVerifier, mint: Mint) -> None:
        """Entra ID lists up to 200 groups, each as a UUID, in a JWT: longer than 8192 characters from 140 on."""
        token = mint(groups=[f"00000000-0000-4000-8000-{number:012}" for number in range(200)])
        assert len(token) > 8192
        assert verifier.verify(token.encode()).subject

    @pytest.mark.parametrize("extra", [" ", "\t", "\n", "\r\n", "=", "==", ".", ".e30", "\0", "A", "~", "%20"])
    def test_refuses_what_follows_or_precedes_it(self, verifier: TokenVerifier, mint: Mint, extra: str) -> None:
        token = mint()
        assert refused(verifier, token + extra) == NOT_VALID
        assert refused(verifier, extra + token) == NOT_VALID
        for position in (token.index("."), token.rindex(".")):
            assert refused(verifier, token[:position] + extra + token[position:]) == NOT_VALID

    def test_refuses_base64url_written_otherwise(self, verifier: TokenVerifier, mint: Mint) -> None:
        """64 bytes end in a character of which four bits mean nothing: only one way to write them is right."""
        head, alphabet = mint()[:-1], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        ways = [head + last for last in alphabet if unb64((head + last).split(".")[2])]
        valid = [way for way in ways if not _is_refused(verifier, way)]
        assert len(valid) == 1

    def test_refuses_plain_base64(self, verifier: TokenVerifier, mint: Mint) -> None:
        while "-" not in (token := mint()).split(".")[2]:
            pass
        assert refused(verifier, token.replace("-", "+")) == NOT_VALID

    def test_refuses_an_empty_signature(self, verifier: TokenVerifier, mint: Mint) -> None:
        assert refused(verifier, mint().rpartition(".")[0] + ".") == NOT_VALID

    def test_refuses_an_encrypted_token(self, verifier: TokenVerifier, signing_key: ECKey) -> None:
        public = ECKey.import_key(signing_key.as_dict(private=False) | {"use": "enc", "alg": "ECDH-ES"})
        token = jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A128GCM"}, json.dumps(claims()), public)
        assert refused(verifier, token) == NOT_VALID

    def test_refuses_a_token_in_a_token(self, verifier: TokenVerifier, mint: Mint, sign: Callable[..., str]) -> None:
        header = json.dumps({"alg": "ES256", "cty": "JWT"}).encode()
        assert refused(verifier, sign(mint().encode(), header)) == NOT_VALID

    def test_refuses_a_changed_payload(self, verifier: TokenVerifier, mint: Mint) -> None:
        header, _, signature = mint().split(".")
        _, admin, _ = mint(sub="admin").split(".")
        assert refused(verifier, f"{header}.{admin}.{signature}") == NOT_VALID

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"[]",
            b'"x"',
            b"null",
            b"7",
            b"{",
            json.dumps(claims()).encode() + b"{}",
            json.dumps(claims()).encode("utf-16"),
            b"\xef\xbb\xbf" + json.dumps(claims()).encode(),
            b'{"exp": NaN, ' + json.dumps(claims()).encode()[1:],
            json.dumps(claims(exp=float("nan"))).encode(),
            json.dumps(claims(exp=float("inf"))).encode(),
            json.dumps(claims()).encode().replace(b'"exp": ', b'"exp": 1e999, "x": '),
            json.dumps(claims()).encode().replace(b'"exp": ', b'"exp": ' + b"9" * 4400 + b', "x": '),
            json.dumps(claims(x=1)).encode().replace(b'"x": 1', b'"x": ' + b"[" * 2000 + b"]" * 2000),
            json.dumps(claims(x=1)).encode().replace(b'"x": 1', b'"x": ' + b"[" * 5000),
        ],
    )
    def test_refuses_odd_payloads(self, verifier: TokenVerifier, sign: Callable[..., str], payload: bytes) -> None:
        assert refused(verifier, sign(payload)) == NOT_VALID

    @pytest.mark.parametrize("name", ["sub", "aud", "exp", "scope", "x"])
    def test_refuses_claims_named_twice(self, verifier: TokenVerifier, sign: Callable[..., str], name: str) -> None:
        """Two readers could see two subjects."""
        twice = json.dumps(claims(scope="", x=1)).encode()[:-1] + f', "{name}": "admin", "{name}": "admin"}}'.encode()
        assert refused(verifier, sign(twice)) == NOT_VALID

    def test_refuses_header_parameters_named_twice(
        self, verifier: TokenVerifier, sign: Callable[..., str], signing_key: ECKey
    ) -> None:
        header = f'{{"alg": "none", "alg": "ES256", "kid": "{signing_key.kid}"}}'.encode()
        assert refused(verifier, sign(json.dumps(claims()).encode(), header)) == NOT_VALID

    def test_refuses_a_deeply_nested_header(self, verifier: TokenVerifier, sign: Callable[..., str]) -> None:
        header = b'{"alg": "ES256", "x": ' + b"[" * 1400 + b"}"
        assert refused(verifier, sign(json.dumps(claims()).encode(), header)) == NOT_VALID


class TestHeader:
    @pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "", "id+jwt"])
    def test_refuses_other_types(self, verifier: TokenVerifier, mint: Mint, kind: str) -> None:
        assert refused(verifier, mint(header={"typ": kind})) == "The token is not an access token."

    @pytest.mark.parametrize(
        "wrong",
        [
            *[{"alg": each} for each in ODD_ALG],
            *[{"typ": each} for each in ODD_TYP],
            *[{"kid": each} for each in ODD_KID],
            *[{"crit": each} for each in ODD_CRIT],
            {"crit": ["exp"], "exp": 4102444800},
            {"crit": ["b64"], "b64": True},
            {"crit": ["b64"], "b64": False},
            {"b64": False},
        ],
    )
    def test_refuses_what_it_does_not_understand(
        self, verifier: TokenVerifier, sign: Callable[..., str], signing_key: ECKey, wrong: dict[str, Any]
    ) -> None:
        header = {"alg": "ES256", "kid": signing_key.kid} | wrong
        assert refused(verifier, sign(json.dumps(claims()).encode(), json.dumps(header).encode())) == NOT_VALID

    def test_refuses_a_payload_that_is_not_encoded(self, verifier: TokenVerifier, signing_key: ECKey) -> None:
        """RFC 7797: the signature is then over the payload as it stands."""
        header = encoded({"alg": "ES256", "kid": signing_key.kid, "b64": False, "crit": ["b64"]})
        signed = f"{header}.{encoded(claims())}"
        signature = JWSRegistry.algorithms["ES256"].sign(signed.encode(), signing_key)
        assert refused(verifier, f"{signed}.{b64(signature)}") == NOT_VALID

    @pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
    @pytest.mark.parametrize("signature", ["", "AA"])
    def test_refuses_alg_none(self, verifier: TokenVerifier, mint: Mint, name: str, signature: str) -> None:
        payload = mint().split(".")[1]
        assert refused(verifier, f"{encoded({'alg': name})}.{payload}.{signature}") == NOT_VALID

    @pytest.mark.parametrize(
        ("algorithm", "key"),
        [
            ("ES256K", ECKey.generate_key("secp256k1", auto_kid=True)),
            ("Ed448", OKPKey.generate_key("Ed448", auto_kid=True)),
            ("EdDSA", OKPKey.generate_key("Ed448", auto_kid=True)),
            ("HS256", OctKey.generate_key(256, auto_kid=True)),
            ("RS1", None),
            ("dir", None),
        ],
    )
    def test_refuses_other_algorithms(self, mint: Mint, algorithm: str, key: Any) -> None:
        """Even if there were a key for them, which parse_jwks would have passed over."""
        known = key or RSAKey.generate_key(2048, auto_kid=True)
        token = f"{encoded({'alg': algorithm, 'kid': known.kid})}.{encoded(claims())}.AAAA"
        if key:
            with warnings.catch_warnings(action="ignore", category=SecurityWarning):
                token = mint(key=key, header={"alg": algorithm, "kid": key.kid})
        assert refused(TokenVerifier(_Keys(known), ISSUER, AUDIENCE, leeway=0), token) == NOT_VALID

    def test_refuses_those_that_the_settings_leave_out(self, mint: Mint) -> None:
        key = RSAKey.generate_key(2048, auto_kid=True)
        for allowed in (("PS256",), ("RS256", "PS256")):
            verifier = TokenVerifier(_Keys(key), ISSUER, AUDIENCE, leeway=0, algorithms=allowed)
            for algorithm in ("RS256", "PS256", "RS512"):
                token = mint(key=key, header={"alg": algorithm, "kid": key.kid})
                assert _is_refused(verifier, token) is (algorithm not in allowed)

    @pytest.mark.parametrize("own", ["RS256", "RS512", "PS256"])
    def test_refuses_all_but_a_key_s_own(self, verifier_of: Any, mint: Mint, own: str) -> None:
        key = RSAKey.generate_key(2048, {"alg": own}, auto_kid=True)
        signer = RSAKey.import_key({k: v for k, v in key.as_dict(private=True).items() if k != "alg"})
        verifier = verifier_of(key)
        for algorithm in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
            token = mint(key=signer, header={"alg": algorithm, "kid": key.kid})
            assert _is_refused(verifier, token) is (algorithm != own)


STRANGERS: dict[str, Any] = {"RS256": RSAKey.generate_key(2048), "ES256": ECKey.generate_key("P-256")}


class TestKeys:
    @pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
    def test_refuses_a_public_key_used_as_hmac_secret(
        self, verifier: TokenVerifier, mint: Mint, signing_key: ECKey, jwks_file: Path, algorithm: str
    ) -> None:
        """The attacker knows the public key in each of its forms."""
        public = signing_key.as_dict(private=False)
        forms = (
            signing_key.as_pem(private=False),
            signing_key.as_pem(private=False).strip(),
            signing_key.as_der(private=False),
            json.dumps(public).encode(),
            json.dumps(public, separators=(",", ":")).encode(),
            jwks_file.read_bytes(),
            unb64(str(public["x"])),
            b"",
        )
        signed = f"{encoded({'alg': algorithm, 'kid': signing_key.kid})}.{mint().split('.')[1]}"
        for secret in forms:
            digest = hmac.digest(secret, signed.encode(), f"sha{algorithm[2:]}")
            assert refused(verifier, f"{signed}.{b64(digest)}") == NOT_VALID

    def test_refuses_keys_the_token_brings_along(self, verifier: TokenVerifier, mint: Mint, signing_key: ECKey) -> None:
        attacker = ECKey.generate_key("P-256")
        public = attacker.as_dict(private=False)
        certificate = base64.b64encode(attacker.as_der(private=False)).decode()
        for header in (
            {"jwk": public},
            {"jwk": public | {"kid": signing_key.kid}},
            {"jku": "https://evil.example/jwks.json"},
            {"x5u": "https://evil.example/cert.pem"},
            {"x5c": [certificate]},
            {"jwk": public, "kid": "mine"},
            {"kid": signing_key.kid},
        ):
            assert refused(verifier, mint(key=attacker, header=header)) == NOT_VALID

    def test_ignores_where_a_good_token_says_its_key_is(self, verifier: TokenVerifier, mint: Mint) -> None:
        elsewhere = {"jku": "https://evil.example/jwks.json", "x5u": "http://127.0.0.1:1/"}
        assert accepted(verifier, mint(header=elsewhere)).subject == "alice"

    @pytest.mark.parametrize(
        "kid",
        [
            "../../../../dev/null",
            "/dev/null",
            "file:///dev/null",
            "' OR '1'='1",
            "x' UNION SELECT 'AA",
            "; id",
            "\0",
            "",
        ],
    )
    def test_refuses_ids_that_mean_something_elsewhere(self, verifier: TokenVerifier, mint: Mint, kid: str) -> None:
        with pytest.raises(UnknownKey):
            verifier.verify(mint(header={"kid": kid}).encode())
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):
            known = OctKey.import_key("AA")
            token = mint(key=known, header={"alg": "HS256", "kid": kid}).encode()
        with pytest.raises(InvalidTokenError) as raised:
            verifier.verify(token)
        assert raised.type is InvalidTokenError  # and no reason to ask the issuer for that key

    def test_refuses_no_id_with_several_keys(self, verifier_of: Any, mint: Mint, signing_key: ECKey) -> None:
        verifier = verifier_of(signing_key, ECKey.generate_key("P-256", auto_kid=True))
        assert refused(verifier, without_kid(mint, signing_key)) == NOT_VALID

    def test_refuses_the_id_of_another_key(self, verifier_of: Any, mint: Mint, signing_key: ECKey) -> None:
        other = ECKey.generate_key("P-256", auto_kid=True)
        assert refused(verifier_of(signing_key, other), mint(header={"kid": other.kid})) == NOT_VALID

    def test_refuses_the_id_of_a_key_for_another_algorithm(self, verifier_of: Any, mint: Mint) -> None:
        rsa = RSAKey.generate_key(2048, auto_kid=True)
        ec = ECKey.generate_key("P-256", auto_kid=True)
        ed = OKPKey.generate_key("Ed25519", auto_kid=True)
        verifier = verifier_of(rsa, ec, ed)
        for algorithm, signer in (("RS256", rsa), ("ES256", ec), ("Ed25519", ed)):
            for named in (rsa, ec, ed):
                token = mint(key=signer, header={"alg": algorithm, "kid": named.kid})
                assert _is_refused(verifier, token) is (named is not signer)

    def test_one_id_for_a_key_of_each_type(self, verifier_of: Any, mint: Mint) -> None:
        rsa = RSAKey.generate_key(2048, {"kid": "one"})
        ec = ECKey.generate_key("P-256", {"kid": "one"})
        for verifier in (verifier_of(rsa, ec), verifier_of(ec, rsa)):
            for algorithm, signer in (("RS256", rsa), ("ES256", ec)):
                assert accepted(verifier, mint(key=signer, header={"alg": algorithm, "kid": "one"})).subject == "alice"
                stranger = type(signer).import_key(STRANGERS[algorithm].as_dict(private=True) | {"kid": "one"})
                token = mint(key=stranger, header={"alg": algorithm, "kid": "one"})
                assert refused(verifier, token) == NOT_VALID

    def test_a_key_for_encryption_does_not_sign(self, verifier_of: Any, mint: Mint) -> None:
        key = ECKey.generate_key("P-256", {"use": "enc"}, auto_kid=True)
        signer = ECKey.import_key({**key.as_dict(private=True), "use": "sig"})
        verifier = verifier_of(key, ECKey.generate_key("P-256"))
        assert refused(verifier, mint(key=signer, header={"kid": key.kid})) == NOT_VALID

    def test_without_any_key(self, tmp_path: Path, mint: Mint) -> None:
        verifier = TokenVerifier(JwksFile(tmp_path / "none", parse_jwks), ISSUER, AUDIENCE, leeway=0)
        assert refused(verifier, mint()) == NOT_VALID


class TestSignature:
    @pytest.mark.parametrize(
        ("r", "s"),
        [(0, 0), (0, 1), (1, 0), (P256_ORDER, P256_ORDER), (P256_ORDER, 0), (1, 1), (2**256 - 1, 2**256 - 1)],
    )
    def test_refuses_numbers_that_solve_it_for_every_key(
        self, verifier: TokenVerifier, mint: Mint, r: int, s: int
    ) -> None:
        """CVE-2022-21449: zero for both was a signature of anything."""
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert refused(verifier, f"{mint().rpartition('.')[0]}.{b64(signature)}") == NOT_VALID

    def test_refuses_other_forms_of_a_good_one(self, verifier: TokenVerifier, mint: Mint) -> None:
        signed, _, last = mint().rpartition(".")
        raw = unb64(last)
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        for form in (encode_dss_signature(r, s), b"\0" + raw, raw + b"\0", raw[:-1], raw[:32], raw * 2, b"\0" * 64):
            assert refused(verifier, f"{signed}.{b64(form)}") == NOT_VALID

    def test_the_mirrored_one_is_recalled_as_another_token(self, verifier: TokenVerifier, mint: Mint) -> None:
        """ECDSA has two signatures for each: RFC 7518 allows both, so no one may rely on a token's bytes."""
        token = mint()
        signed, _, last = token.rpartition(".")
        raw = unb64(last)
        mirrored = raw[:32] + (P256_ORDER - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
        assert accepted(verifier, token) == accepted(verifier, f"{signed}.{b64(mirrored)}")


def _is_refused(verifier: TokenVerifier, token: str) -> bool:
    try:
        verifier.verify(token.encode())
    except InvalidTokenError:
        return True
    return False


KEY = ECKey.generate_key("P-256", auto_kid=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "cty", "x5c"]), JSON)
CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "scope", "scp", "jti", "typ", "token_use"]), JSON
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(HEADERS, CLAIMS)
@example({}, {"sub": "\ud800"})
@example({}, {"exp": 10**400})
def test_whatever_is_signed_it_is_accepted_or_refused(
    tmp_path: Path, header: dict[str, Any], others: dict[str, Any]
) -> None:
    """Nothing an issuer may write makes us fail, in the header or in the claims."""
    path = tmp_path / "keys.json"
    if not path.exists():
        path.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    verifier = TokenVerifier(JwksFile(path, parse_jwks), ISSUER, AUDIENCE, leeway=0)
    signed = f"{encoded({'alg': 'ES256', 'kid': KEY.kid} | header)}.{encoded(claims() | others)}"
    signature = JWSRegistry.algorithms["ES256"].sign(signed.encode(), KEY)
    _is_refused(verifier, f"{signed}.{b64(signature)}")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.integers(0, 400))
def test_whatever_is_sent_is_refused(junk: bytes, position: int) -> None:
    verifier = TokenVerifier(_Keys(KEY), ISSUER, AUDIENCE, leeway=0)
    signed = f"{encoded({'alg': 'ES256', 'kid': KEY.kid})}.{encoded(claims())}".encode()
    token = signed[:position] + junk + signed[position:] + b".AAAA"
    with pytest.raises(InvalidTokenError):
        verifier.verify(token)


class _Keys(KeySource):
    def __init__(self, *keys: Any) -> None:
        self._keys = KeySet(list(keys))

    def current(self) -> KeySet:
        return self._keys
