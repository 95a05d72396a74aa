"""Addresses of an issuer: its own, those of what it says of itself, and that of its keys."""

from urllib.parse import urlsplit

EXAMPLE_KEYS = "https://issuer.example.com/.well-known/jwks.json"
EXAMPLE_ISSUER = "https://issuer.example.com"


def parse_url(text: str, *, https_only: bool, example: str = EXAMPLE_KEYS) -> str:
    """An address that may be asked, as it is.

    Raises:
        ValueError: the message says what one looks like.
    """
    try:
        url = urlsplit(text)
        is_valid = url.port is None or url.port > 0
    except ValueError:
        is_valid = False
    # What must be escaped in a request's first line could end it.
    if not is_valid or not url.hostname or url.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"must be a URL such as {example}")
    if url.username is not None:
        raise ValueError(f"must hold no user or password, as in {example}: public keys are public")
    if url.scheme != "https" and (https_only or url.scheme != "http"):
        raise ValueError(f"must begin with https://, as in {example}")
    return text


def parse_issuer(text: str, *, https_only: bool) -> str:
    """The address of an issuer that can be discovered (OpenID Connect Discovery 1.0, section 3).

    Raises:
        ValueError: the message says what one looks like.
    """
    if "?" in text or "#" in text:
        raise ValueError(f"must have neither ? nor #, as {EXAMPLE_ISSUER} has none")
    return parse_url(text, https_only=https_only, example=EXAMPLE_ISSUER)


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where an issuer says where its keys are: as OpenID Connect has it, and as RFC 8414 has it."""
    issuer = issuer.removesuffix("/")
    url = urlsplit(issuer)
    return (
        f"{issuer}/.well-known/openid-configuration",
        url._replace(path=f"/.well-known/oauth-authorization-server{url.path}").geturl(),
    )
