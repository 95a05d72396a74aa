"""Clients of what is served at 127.0.0.1 under other names."""

import ssl
from pathlib import Path
from typing import Any

import httpx


class Loopback(httpx.HTTPTransport):
    """Connects to 127.0.0.1 whatever the name, and verifies the certificate for the name."""

    def __init__(self, trust: Any) -> None:
        super().__init__(verify=trust)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = request.url.host
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)


def trust_of(authority: Path) -> Any:
    return ssl.create_default_context(cafile=authority)
