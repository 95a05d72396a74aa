"""Paths that must lead nowhere: the management port's, files, and ways out of a folder (OWASP API5, API8 and API9)."""

from tests.attack.attempts import Tally
from tests.attack.target import Target

MANAGEMENT = ("/metrics", "/livez", "/readyz", "/startupz", "/log-level", "/faults")
ELSEWHERE = (
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/.aws/credentials",
    "/.well-known/openid-configuration",
    "/etc/passwd",
    "/admin",
    "/admin/",
    "/actuator/env",
    "/api",
    "/api/v0/links",
    "/api/v2/links",
    "/api/internal/links",
    "/backup.sql",
    "/config",
    "/console",
    "/debug/pprof/",
    "/graphql",
    "/server-status",
    "/swagger.json",
    "/wp-login.php",
)
WAYS_OUT = (
    "/../metrics",
    "/../../../../etc/passwd",
    "/%2e%2e/metrics",
    "/%2e%2e%2fmetrics",
    "/..%2f..%2fetc%2fpasswd",
    "/..%5c..%5cetc%5cpasswd",
    "/..;/metrics",
    "/.;/metrics",
    "/%252e%252e/metrics",
    "/%c0%ae%c0%ae/metrics",
    "//metrics",
    "///metrics",
    "/./metrics",
    "/metrics/",
    "/metrics%00",
    "/metrics%20",
    "/metrics;x",
    "/METRICS",
    "/metrics.json",
    "/api/v1/links/../../../metrics",
    "/docs/../metrics",
    "/docs/..%2f..%2fapp%2fmain.py",
    "/docs/%2e%2e/%2e%2e/etc/passwd",
    "/%00",
    "/%0d%0aX-Injected:%20yes",
    "/%ff",
)
NOTHING = (400, 404)
# What only an answer of the management port, a file or an error page of a framework would hold.
TELLING = (b"# HELP", b"root:", b'"level"', b'"checks"', b"Traceback", b"site-packages")


def attack(target: Target, tally: Tally) -> None:
    for path in (*MANAGEMENT, *ELSEWHERE, *WAYS_OUT):
        answer = target.ask("GET", path)
        location = answer.headers.get("location", "")
        if answer.status in (301, 308) and location.startswith("/"):  # the ingress knows a tidier path
            answer = target.ask("GET", location)
        held = answer.status in NOTHING and not any(word in answer.body for word in TELLING)
        held = held and "x-injected" not in answer.headers
        tally.judge(f"GET {path}", held, answer)
    for path, method, body in [
        ("/log-level", "PUT", {"level": "debug"}),
        ("/faults", "PUT", {"error_ratio": 1.0, "for_seconds": 1}),
        ("/faults", "DELETE", None),
        ("/metrics", "POST", {}),
    ]:
        answer = target.ask(method, path, token=target.token(scope="links:admin"), body=body)
        tally.refused(f"{method} {path}", answer, 404, 405)
    for name in ("localhost:9000", "127.0.0.1:9000", f"{target.address.name}:9000"):
        answer = target.ask("GET", "/metrics", host=name)
        tally.refused(f"GET /metrics of {name}", answer, 404, 421)
