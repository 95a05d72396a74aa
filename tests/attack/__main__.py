"""`make attack URL=`: what a stranger may try at a service that runs on this machine, and what of it gets through.

https:// is through the ingress, http:// past it, as by kubectl port-forward. What else must be known is taken from the
local cluster, unless it is given: CA (file), KEY (file of the private key that signs tokens), ISSUER and AUDIENCE.
"""

import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from k8s.service import HOST
from tests.attack.attempts import run, table
from tests.attack.groups import ANYWHERE, OWN
from tests.attack.target import Target, UnfitTargetError, read_key
from tests.attack.wire import LOOPBACK, Address
from toolkit.paths import BUILD

UNFIT = 2
# Of the local cluster's release.
ISSUER, AUDIENCE = f"https://issuer.{HOST}", "links"
HELD_SECONDS = 120.0  # longer than APP_KEEP_ALIVE_SECONDS, and than Traefik's time-outs


def address(url: str, authority: Path) -> Address:
    """Where a URL leads. Raises UnfitTargetError where that is not this machine."""
    try:
        parts = urlsplit(url)
        scheme, name, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError:
        scheme, name, port = "", "", None
    # Names below .localhost are this machine's (RFC 6761); no resolver is asked.
    if scheme not in ("http", "https") or not (name in (LOOPBACK, "localhost") or name.endswith(".localhost")):
        raise UnfitTargetError(f"URL={url} is not this machine: attempts are made at {LOOPBACK} alone.")
    if scheme == "http":
        return Address(port or 80, name)
    try:
        return Address(port or 443, name, ssl.create_default_context(cafile=authority))
    except OSError as error:
        raise UnfitTargetError(f"CA={authority} cannot be read: {error}") from error


def named(url: str) -> Target:
    """The service at a URL, with what the environment says of it. Raises UnfitTargetError."""
    given = os.environ
    folder = BUILD / (given.get("CLUSTER") or "shipshape")
    return Target(
        address(url, Path(given.get("CA") or folder / "ca" / "ca.crt")),
        read_key(Path(given.get("KEY") or folder / "dev-key.json")),
        given.get("ISSUER") or ISSUER,
        given.get("AUDIENCE") or AUDIENCE,
        direct=url.startswith("http:"),
        held_seconds=HELD_SECONDS,
    )


def main() -> int:
    """The exit status: 1 if something got through, 2 if nothing could be tried."""
    try:
        target = named(os.environ.get("URL", ""))
        target.check()
    except UnfitTargetError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return UNFIT
    tallies = run(ANYWHERE, target)
    left_out = [f"{name}, which needs a service that the suite has started" for name, _ in OWN]
    left_out.append("floods of an address, as all that asks from here has the same one")
    print(table(tallies, left_out))  # noqa: T201
    return 1 if any(tally.through for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
