"""Asks the target of a link whether it is still there.

Whoever makes a link chooses whom the service talks to. So it asks only public addresses, checks the address that it
connects to and not one that it has looked up before, follows no redirects and reads no body (OWASP, "Server-Side
Request Forgery Prevention").
"""

import asyncio
import http.client
import ipaddress
import ssl
from dataclasses import dataclass

from keel import outgoing
from keel.happy_eyeballs import ForbiddenAddressError

SECONDS = 10
GONE = (404, 410)
# They carry an IPv4 address, which may be one that is not public: RFC 3056 and RFC 6052.
CARRIERS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("64:ff9b::/96"))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the target of a link has answered."""

    status: int | None
    error: str | None
    """Why the target is broken; None if it is fine. A target that wants a password, or another method, is there."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, and no host's of the pod's own networks."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip.is_global and not ip.is_multicast and not any(ip in carrier for carrier in CARRIERS)


async def ask(url: str, *, public_only: bool = True) -> Finding:
    """Ask for the head of a page. It does not raise for what the target does."""
    allowed = is_public if public_only else None
    try:
        async with asyncio.timeout(SECONDS):
            answer = await outgoing.send("HEAD", url, {}, max_bytes=0, seconds=SECONDS, allowed=allowed)
    except ForbiddenAddressError:
        return Finding(None, "its address is not public")
    except TimeoutError:
        return Finding(None, f"no answer within {SECONDS} s")
    except ssl.SSLError:
        return Finding(None, "no TLS connection")
    except (OSError, http.client.HTTPException, ValueError):
        return Finding(None, "no answer")
    broken = answer.status in GONE or answer.status >= 500
    return Finding(answer.status, f"status {answer.status}" if broken else None)
