"""One request to the installed release, for `helm test`: ends with a sentence when the answer is another one.

Arguments: URL, host, wanted status, wanted content type or "", and "address:port" to connect to instead or "".
"""

import http.client
import os
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

PATIENCE = 30  # seconds; a network policy may take a moment to know a new pod


def connection(scheme: str, host: str, address: tuple[str, int]) -> http.client.HTTPConnection:
    """Connected to the address, and with TLS verified for the host's name."""
    made = http.client.HTTPConnection(*address, timeout=10)
    made.sock = socket.create_connection(address, timeout=5)
    if scheme == "https":
        ca = "/run/secrets/ca/ca.crt"
        trust = ssl.create_default_context(cafile=ca if os.path.exists(ca) else None)
        made.sock = trust.wrap_socket(made.sock, server_hostname=host)
    return made


def main(url: str, host: str, status: str, content_type: str, address: str) -> str:
    """What is wrong, or nothing."""
    parts = urlsplit(url)
    name, _, port = (address or parts.netloc).rpartition(":")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            client = connection(parts.scheme, host, (name, int(port)))
            break
        except ssl.SSLError as error:
            return f"{url} has no certificate for {host} that is trusted: {error}"
        except OSError as error:
            if time.monotonic() > deadline:
                return f"{url} cannot be reached at {name}:{port}: {error}"
            time.sleep(1)
    client.request("GET", parts._replace(scheme="", netloc="").geturl(), headers={"Host": host})
    answer = client.getresponse()
    found = answer.headers.get_content_type()
    sys.stdout.write(f"GET {url} for {host}: {answer.status} {found}\n")
    if str(answer.status) != status:
        return f"{url} answered {answer.status} instead of {status}: {answer.read(500).decode(errors='replace')}"
    if content_type and found != content_type:
        return f"{url} answered with {found} instead of {content_type}"
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) or 0)
