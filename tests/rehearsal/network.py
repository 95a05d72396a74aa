"""What a new machine on this network is given as well: proxies, indexes and authorities. Nothing else of this host."""

import ast
import configparser
import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from offline.image_build import AUTHORITIES
from toolkit import apt
from toolkit.process import Failure, output

# What a shell of a new machine has. Go is where its site says that it is to be installed.
NEW = {
    "PATH": "/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
# Where packages come from and who vouches for that; whatever else is set is the developer's choice.
PIP = ("index-url", "extra-index-url", "trusted-host", "proxy")
GO = ("GOPROXY", "GOSUMDB", "GONOPROXY", "GONOSUMDB", "GOPRIVATE", "GOINSECURE")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


def environment(host: Mapping[str, str]) -> dict[str, str]:
    """The variables of the new machine, where the host has these."""
    return {**NEW, **{name: host[name] for name in PROXIES if host.get(name)}}


def pip_config(listing: str) -> dict[str, str]:
    """Of what `pip config list` prints, what every command on this network needs. Variables overrule files."""
    lines = sorted(listing.splitlines(), key=lambda line: line.startswith(":env:"))
    found = (re.fullmatch(r"(?:global|:env:)\.(?P<name>[a-z-]+)=(?P<value>.+)", line) for line in lines)
    settings = {match["name"]: str(ast.literal_eval(match["value"])) for match in found if match}
    return {name: settings[name] for name in PIP if name in settings}


def pip_conf(settings: Mapping[str, str]) -> str:
    """A pip.conf with these settings."""
    parser = configparser.RawConfigParser()
    parser["global"] = dict(settings)
    text = io.StringIO()
    parser.write(text)
    return text.getvalue()


def go_config(changed: str) -> dict[str, str]:
    """Likewise, of what `go env -json -changed` prints."""
    settings: dict[str, str] = json.loads(changed)
    return {name: settings[name] for name in GO if name in settings}


def more_authorities(host: str, new: str) -> list[str]:
    """The certificates of the host's bundle that a new machine's has not, as on a network that opens TLS."""
    known = set(CERTIFICATE.findall(new))
    return [each for each in dict.fromkeys(CERTIFICATE.findall(host)) if each not in known]


def host_pip_config() -> dict[str, str]:
    return pip_config(output([sys.executable, "-m", "pip", "config", "list"]))


def host_go_config() -> dict[str, str]:
    return go_config(output(["go", "env", "-json", "-changed"]))


def host_authorities() -> str:
    """The bundle of the host, empty where it has none in a file."""
    return next((Path(name).read_text(encoding="utf-8") for name in AUTHORITIES if Path(name).exists()), "")


def host_sources(suite: str) -> list[str]:
    """The lines of a sources.list that a host which is a Debian has itself; none where it is another system."""
    try:
        return apt.sources(suite)
    except Failure:
        return []
