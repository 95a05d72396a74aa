"""Settings that would open the service: refused at the start of production. What is shown of settings holds no secret.

It starts processes with settings of its own (OWASP API8; ASVS 13).
"""

import json
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from subprocess import CompletedProcess

from app.main import PRODUCT, SERVICE
from keel.security import dev_token
from keel.settings.settings import DEVELOPMENT_ISSUER
from tests.attack.attempts import Tally
from tests.attack.own import Own, ended
from tests.attack.target import LINKS, Target, sign
from tests.attack.wire import Address
from tests.support.processes import App

MISCONFIGURED = 2
SECRET = "hunter2hunter2"
AT_A_TIME = 2
# What is set besides, or left out (None), in production.
OPEN: list[tuple[str, str, dict[str, str | None]]] = [
    ("a development token", "token", {}),
    ("no issuer", "config", {"APP_JWT_ISSUER": None}),
    ("the development issuer", "config", {"APP_JWT_ISSUER": DEVELOPMENT_ISSUER.format(name=PRODUCT.name)}),
    ("no keys", "config", {"APP_JWKS_FILE": None}),
    ("keys over plain HTTP", "config", {"APP_JWKS_FILE": None, "APP_JWKS_URL": "http://issuer.example.com/jwks"}),
    ("SQLite", "config", {"APP_DATABASE_URL": "sqlite:///links.db"}),
    ("faults on demand", "config", {"APP_FAULTS_ENABLED": "true"}),
    ("every origin", "config", {"APP_CORS_ORIGINS": "*"}),
    ("tokens that are not signed", "config", {"APP_JWT_ALGORITHMS": "none"}),
    ("tokens that are signed by a shared secret", "config", {"APP_JWT_ALGORITHMS": "ES256,HS256"}),
    ("private keys for public ones", "serve", {"APP_JWKS_FILE": "private.json"}),
    ("a shared secret among the keys", "serve", {"APP_JWKS_FILE": "shared.json"}),
]
SHOWN = {
    "APP_DATABASE_URL": f"postgresql://links:{SECRET}@db/links",
    "APP_VALKEY_URL": f"valkey://:{SECRET}@cache/0",
    "APP_OTLP_ENDPOINT": f"http://user:{SECRET}@collector:4318/?key={SECRET}",
    "APP_JWT_ISSUER": f"https://user:{SECRET}@issuer.example.com",
}
WRONG = {
    "APP_DATABASE_URL": f"postgresql://links:{SECRET}@/links?password={SECRET}",
    "APP_VALKEY_URL": f"http://:{SECRET}@cache/0",
    "APP_OTLP_ENDPOINT": f"collector://user:{SECRET}@collector",
    "APP_JWKS_URL": f"https://user:{SECRET}@issuer.example.com:none/",
    "APP_PUBLIC_URL": f"https://user:{SECRET}@links.example.com",
}


def attack(own: Own, tally: Tally) -> None:
    production = own.variables | {"APP_ENVIRONMENT": "production"}
    private = own.directory / "private.json"
    private.write_text(json.dumps({"keys": [own.key.as_dict(private=True)]}))
    shared = own.directory / "shared.json"
    shared.write_text(json.dumps({"keys": [{"kty": "oct", "kid": "shared", "k": "c2VjcmV0" * 8}]}))

    def start(case: tuple[str, str, dict[str, str | None]]) -> "CompletedProcess[str]":
        _, command, changes = case
        return own.command(command, **{name: value for name, value in (production | changes).items() if value})

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for (name, _, _), result in zip(OPEN, pool.map(start, OPEN), strict=True):
            explained = bool(result.stderr) and "Traceback" not in result.stderr
            tally.judge(f"production with {name}", result.returncode == MISCONFIGURED and explained, result)
    for name, variables in [("what is right", SHOWN), ("what is wrong", WRONG)]:
        result = own.command("config", **own.variables | variables)
        told = result.stdout + result.stderr
        for variable in variables:
            # Each is named, so that nothing can be wanting from what is looked through.
            lines = [line for line in told.splitlines() if variable in line]
            tally.judge(f"{variable}, where {name} is told", bool(lines) and SECRET not in "".join(lines), lines)
    app = App(SERVICE, own.directory, **production)
    try:
        _in_production(own, app, tally)
    finally:
        ended(app)


def _in_production(own: Own, app: App, tally: Tally) -> None:
    """The service as it comes in production, whose tokens are an issuer's."""
    port = int(app.public.rpartition(":")[2])
    there = Target(Address(port, own.address.name), own.key, own.issuer, own.audience)
    there.check()
    development = dev_token.obtain_key(own.directory / "shipshape" / "dev-key.json")
    for name, issuer in [("as ours", own.issuer), ("as itself", DEVELOPMENT_ISSUER)]:
        claims = there.claims(iss=issuer)
        for kid in (development.kid, own.key.kid, None):
            answer = there.ask("GET", LINKS, token=sign(there.header(kid=kid), claims, development))
            tally.refused(f"a development token that speaks {name} (kid {kid})", answer, 401)
    for path in ("/docs", "/api/openapi.json", "/openapi.json", "/redoc"):
        tally.refused(f"{path} in production", there.ask("GET", path), 404)
    for host in ("localhost", "127.0.0.1", "[::1]"):
        tally.refused(f"the host {host} in production", there.ask("GET", "/", host=host), 421)
    for method in ("GET", "PUT", "DELETE"):
        connection = HTTPConnection(app.management, timeout=20)
        connection.request(method, "/faults")
        status = connection.getresponse().status
        tally.judge(f"{method} /faults in production", status == 404, status)
        connection.close()
