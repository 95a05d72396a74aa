"""Which URLs a link may lead to."""

import ipaddress
import re
from collections.abc import Iterable

from pydantic_core import SchemaValidator, Url, ValidationError, core_schema

MAX_CHARACTERS = 2048
FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
ABSOLUTE = re.compile(r"https?://[^/?#]", re.IGNORECASE)
# Parses URLs by the WHATWG URL Standard, as browsers do: the service checks the URL that they will open.
WHATWG = SchemaValidator(core_schema.url_schema())


class UrlPolicy:
    """Refuses URLs that lead back to this service.

    `own_names` are its host names and addresses. *.example.com stands for all names below it; * is ignored.
    """

    def __init__(self, own_names: Iterable[str]) -> None:
        hosts = [_host(WHATWG.validate_python(f"http://{name}")) for name in own_names if name != "*"]
        self._own = frozenset(hosts)
        self._suffixes = tuple(host[1:] for host in hosts if host.startswith("*."))

    def normalise(self, text: str) -> str:
        """The URL as a browser understands it: host in ASCII and lower case, path percent-encoded.

        Raises:
            ValueError: `parse` refuses it, or it leads back to this service. The message is a sentence for the client.
        """
        url = parse(text)
        host = _host(url)
        if host in self._own or host.endswith(self._suffixes):
            raise ValueError("The URL leads back to this service.")
        return str(url)


def parse(text: str) -> Url:
    """Parse an absolute http or https URL.

    Raises:
        ValueError: it is something else, holds credentials, or is too long. The message is a sentence for the client.
    """
    if FORBIDDEN.search(text):
        raise ValueError("The URL contains a space, a backslash or a control character.")
    try:
        url: Url = WHATWG.validate_python(text)
    except ValidationError:
        raise ValueError("This is not an absolute URL such as https://example.com/page.") from None
    # The standard also reads https:example.com and https:///example.com as absolute URLs.
    if not ABSOLUTE.match(text):
        raise ValueError("The URL must begin with http:// or https:// and a host.")
    if "@" in re.split(r"[/?#]", text, maxsplit=3)[2]:
        raise ValueError("The URL contains a user name or password.")
    if len(str(url)) > MAX_CHARACTERS:
        raise ValueError(f"The URL exceeds {MAX_CHARACTERS} characters.")
    return url


def _host(url: Url) -> str:
    """The host in one canonical spelling."""
    host = (url.host or "").rstrip(".")
    if host.startswith("["):
        address = ipaddress.IPv6Address(host.strip("[]"))
        return str(address.ipv4_mapped or address)
    return host
