"""Tokens that are forged, foreign, worn out or meant for something else (RFC 8725; OWASP API2)."""

import contextlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from joserfc.jwk import ECKey

from tests.attack.attempts import Tally
from tests.attack.target import LINKS, Target, b64, encoded, sign, sign_bytes
from tests.support.issuer import Issuer

HOUR = 3600

CLAIMS: list[tuple[str, Callable[[Target], dict[str, Any]]]] = [
    ("another issuer", lambda _: {"iss": "https://evil.example"}),
    ("our issuer with a slash more", lambda target: {"iss": f"{target.issuer}/"}),
    ("our issuer in capitals", lambda target: {"iss": target.issuer.upper()}),
    ("our issuer in a list", lambda target: {"iss": [target.issuer]}),
    ("no issuer", lambda _: {"iss": None}),
    ("another audience", lambda _: {"aud": "others"}),
    ("several audiences, none ours", lambda _: {"aud": ["others", "more"]}),
    ("an audience that begins as ours", lambda target: {"aud": f"{target.audience}x"}),
    ("no audience", lambda _: {"aud": None}),
    ("an empty list of audiences", lambda _: {"aud": []}),
    ("ours as client alone", lambda target: {"aud": None, "azp": target.audience, "client_id": target.audience}),
    ("expired", lambda _: {"exp": int(time.time()) - HOUR}),
    ("without an end", lambda _: {"exp": None}),
    ("an end in words", lambda _: {"exp": "tomorrow"}),
    ("an end that is true", lambda _: {"exp": True}),
    ("an end past all years", lambda _: {"exp": 10**30}),
    ("not yet valid", lambda _: {"nbf": int(time.time()) + HOUR}),
    ("issued in the future", lambda _: {"iat": int(time.time()) + HOUR}),
    ("no subject", lambda _: {"sub": None}),
    ("an empty subject", lambda _: {"sub": ""}),
    ("a subject that is a number", lambda _: {"sub": 0}),
    ("a subject with a line feed", lambda _: {"sub": "alice\nbob"}),
    ("a subject with a zero byte", lambda _: {"sub": "alice\0"}),
    ("a subject too long", lambda _: {"sub": "x" * 256}),
    ("an ID token, by token_use", lambda _: {"token_use": "id"}),
    ("an ID token, by typ", lambda _: {"typ": "ID"}),
    ("a refresh token", lambda _: {"token_use": "refresh"}),
    ("scopes that are an object", lambda _: {"scope": {"links:read": True}}),
]
HEADERS: list[tuple[str, dict[str, Any]]] = [
    ("type JOSE", {"typ": "JOSE"}),
    ("type of a proof of possession", {"typ": "dpop+jwt"}),
    ("type of a log-out token", {"typ": "logout+jwt"}),
    ("type of an ID token", {"typ": "id_token+jwt"}),
    ("a type that is a list", {"typ": ["at+jwt"]}),
    ("a key that nobody knows", {"kid": "foreign"}),
    ("a key by path", {"kid": "../../../../dev/null"}),
    ("a key by SQL", {"kid": "' OR '1'='1"}),
    ("a key by address", {"kid": "http://127.0.0.1/jwks.json"}),
    ("an empty key id", {"kid": ""}),
    ("a key id that is a list", {"kid": ["a"]}),
    ("an extension that is critical", {"crit": ["exp"]}),
    ("a payload that is not encoded", {"b64": False, "crit": ["b64"]}),
    ("an algorithm that is a list", {"alg": ["ES256"]}),
    ("another algorithm's name", {"alg": "RS256"}),
    ("the algorithm in small letters", {"alg": "es256"}),
    ("no algorithm", {"alg": None}),
    ("a header too long", {"note": "x" * 4000}),
]
SCOPES: list[tuple[str, str, str]] = [
    ("no scope", "", "GET"),
    ("to write alone, and reads", "links:write", "GET"),
    ("to read alone, and writes", "links:read", "POST"),
    ("to administer alone, and reads", "links:admin", "GET"),
    ("a scope in capitals", "LINKS:READ", "GET"),
    ("a scope that begins as ours", "links:readers", "GET"),
    ("a scope for everything", "*", "GET"),
    ("scopes with a comma", "links:read,links:write", "POST"),
]


def attack(target: Target, tally: Tally) -> None:
    for name, changes in CLAIMS:
        _judge(target, tally, name, sign(target.header(), target.claims(**changes(target)), target.key))
    for name, header in HEADERS:
        _judge(target, tally, name, sign(target.header(**header), target.claims(), target.key))
    for name, token in _unsigned(target):
        _judge(target, tally, name, token)
    for name, token in _mangled(target):
        _judge(target, tally, name, token)
    _keys_from_elsewhere(target, tally)
    _in_other_places(target, tally)
    for name, scope, method in SCOPES:
        answer = target.ask(method, LINKS, token=target.token(scope=scope), body={"url": "https://example.com/"})
        tally.refused(name, answer, 403)
    long = target.ask("GET", LINKS, token="x" * 20_000)
    tally.refused("a token longer than a head may be", long, 431)


def _judge(target: Target, tally: Tally, name: str, token: str) -> None:
    answer = target.ask("GET", LINKS, token=token)
    challenge = answer.headers.get("www-authenticate", "")
    held = answer.status == 401 and challenge.startswith("Bearer ") and "items" not in answer.json
    tally.judge(name, held, answer)


def _unsigned(target: Target) -> Iterator[tuple[str, str]]:
    """Not signed, or by HMAC with what everybody knows of the key: RFC 8725, section 2.1."""
    claims = encoded(target.claims())
    for alg in ("none", "None", "NONE", "nOnE", ""):
        yield f"algorithm '{alg}', no signature", f"{encoded(target.header(alg=alg))}.{claims}."
    yield "algorithm 'none', a good signature", sign(target.header(alg="none"), target.claims(), target.key)
    public = target.key.as_dict(private=False)
    secrets = {
        "PEM": target.key.as_pem(private=False),
        "DER": target.key.as_der(private=False),
        "JWK": json.dumps(public).encode(),
        "key set": json.dumps({"keys": [public]}).encode(),
        "coordinate": str(public["x"]).encode(),
        "empty text": b"",
    }
    for form, secret in secrets.items():
        signed = f"{encoded(target.header(alg='HS256'))}.{claims}"
        yield f"HMAC with the public key as {form}", f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _mangled(target: Target) -> Iterator[tuple[str, str]]:
    """A good token of which a part was changed."""
    good = target.token()
    header, payload, signature = good.split(".")
    other = encoded(target.claims(sub=target.user("bob"), scope="links:read links:write links:admin"))
    yield "another payload", f"{header}.{other}.{signature}"
    yield "another header", f"{encoded(target.header(typ='JWT'))}.{payload}.{signature}"
    yield "another token's signature", f"{header}.{payload}.{target.token('bob').rpartition('.')[2]}"
    yield "no signature", f"{header}.{payload}."
    yield "two parts", f"{header}.{payload}"
    yield "four parts", f"{good}.{signature}"
    yield "five parts, as an encrypted token has", f"{header}...{payload}.{signature}"
    yield "a signature of zeros", f"{header}.{payload}.{b64(bytes(64))}"
    yield "half a signature", f"{header}.{payload}.{signature[:43]}"
    yield "a filled-up signature", f"{good}=="
    yield "a token in a token", sign_bytes(target.header(cty="JWT"), good.encode(), target.key)
    yield "no JSON", sign_bytes(target.header(), b"alice", target.key)
    yield "a list of claims", sign(target.header(), [target.claims()], target.key)
    twice = json.dumps(target.claims())[:-1] + f', "sub": "{target.user("bob")}"}}'
    yield "a claim twice", sign_bytes(target.header(), twice.encode(), target.key)
    marked = json.dumps(target.claims()).encode("utf-8-sig")
    yield "a byte order mark", sign_bytes(target.header(), marked, target.key)
    yield "words", "let-me-in"
    yield "dots", ".."


def _keys_from_elsewhere(target: Target, tally: Tally) -> None:
    """Signed by an attacker's key that the token says where to find; nobody may look there (OWASP API7)."""
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    public = dict(key.as_dict(private=False))
    with _published({"keys": [public]}) as issuer:
        headers: list[tuple[str, dict[str, Any]]] = [
            ("a foreign key under our key's id", {}),
            ("a foreign key without an id", {"kid": None}),
            ("a foreign key under its own id", {"kid": key.kid}),
            ("a key in the token (jwk)", {"jwk": public}),
            ("a key in the token (jwk), under our key's id", {"jwk": public | {"kid": target.key.kid}}),
            ("a key in the token (jwk), under its own id", {"jwk": public, "kid": key.kid}),
            ("keys at an address (jku)", {"jku": issuer.url}),
            ("keys at an address (jku), by their own id", {"jku": issuer.url, "kid": key.kid}),
            ("a certificate at an address (x5u)", {"x5u": issuer.url}),
            ("a certificate in the token (x5c)", {"x5c": [b64(key.as_der(private=False))]}),
        ]
        for name, header in headers:
            _judge(target, tally, name, sign(target.header(**header), target.claims(), key))
        tally.judge("nobody looked where the tokens said", not issuer.paths, issuer.paths)


@contextlib.contextmanager
def _published(keys: object) -> Iterator[Issuer]:
    """An address of this machine at which there are these keys, and what was asked for there."""
    with Issuer(json.dumps(keys).encode()) as issuer:
        serving = threading.Thread(target=issuer.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield issuer
        finally:
            issuer.shutdown()
            serving.join()


def _in_other_places(target: Target, tally: Tally) -> None:
    """A good token where none is looked for, or one too many."""
    good = target.token()
    places: list[tuple[str, str, list[tuple[str, str]], int]] = [
        ("in the query", f"?access_token={good}", [], 401),
        ("in a cookie", "", [("Cookie", f"access_token={good}; token={good}")], 401),
        ("under another header", "", [("X-Access-Token", good), ("Token", good)], 401),
        ("of a proxy", "", [("Proxy-Authorization", f"Bearer {good}")], 401),
        ("as a password", "", [("Authorization", f"Basic {b64(f'alice:{good}'.encode())}")], 401),
        ("under another scheme", "", [("Authorization", f"DPoP {good}")], 401),
        ("without a scheme", "", [("Authorization", good)], 401),
        ("beside a bad one", "", [("Authorization", "Bearer x"), ("Authorization", f"Bearer {good}")], 400),
        ("twice in one header", "", [("Authorization", f"Bearer {good}, Bearer {good}")], 401),
    ]
    for name, query, headers, status in places:
        tally.refused(f"a good token {name}", target.ask("GET", f"{LINKS}{query}", headers=headers), status)
    said = [("X-User", "alice"), ("X-Forwarded-User", "alice"), ("X-Remote-User", "alice")]
    tally.refused("a name in the headers of a proxy", target.ask("GET", LINKS, headers=said), 401)
