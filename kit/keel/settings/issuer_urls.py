"""Addresses of an issuer: its own, those of its metadata, and that of its keys."""

from urllib.parse import urlsplit

EXAMPLE_KEYS = "https://issuer.example.com/.well-known/jwks.json"
EXAMPLE_ISSUER = "https://issuer.example.com"


def parse_url(text: str, *, https_only: bool, example: str = EXAMPLE_KEYS) -> str:
    """Check an address that the service may fetch, and return it.

    Raises:
        ValueError: the message has an example.
    """
    try:
        url = urlsplit(text)
        is_valid = url.port is None or url.port > 0
    except ValueError:
        is_valid = False
    # A character that must be escaped could end the request line.
    if not is_valid or not url.hostname or url.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be a URL such as {example}")
    if url.username is not None:
        raise ValueError(f"must contain no user or password, as in {example}: public keys are public")
    if url.scheme != "https" and (https_only or url.scheme != "http"):
        raise ValueError(f"must begin with https://, as in {example}")
    return text


def parse_issuer(text: str, *, https_only: bool) -> str:
    """Check the address of an issuer with metadata (OpenID Connect Discovery 1.0, section 3), and return it.

    Raises:
        ValueError: the message has an example.
    """
    if "?" in text or "#" in text:
        raise ValueError(f"must have neither ? nor #, as {EXAMPLE_ISSUER} has none")
    return parse_url(text, https_only=https_only, example=EXAMPLE_ISSUER)


def metadata_urls(issuer: str) -> tuple[str, str]:
    """The two addresses of an issuer's metadata: by OpenID Connect, and by RFC 8414."""
    issuer = issuer.removesuffix("/")
    url = urlsplit(issuer)
    return (
        f"{issuer}/.well-known/openid-configuration",
        url._replace(path=f"/.well-known/oauth-authorization-server{url.path}").geturl(),
    )
