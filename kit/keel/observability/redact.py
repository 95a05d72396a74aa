"""Removes secrets from logs and traces: by the name of a field, and by their form in any text."""

import re
from functools import lru_cache

REDACTED = "[REDACTED]"

# A field is secret if its name contains one of these words or pairs of words.
WORDS = frozenset(
    {
        *("apikey", "authorization", "auth", "cookie", "cookies", "credential", "credentials", "dsn", "jwt"),
        *("passphrase", "passwd", "password", "pwd", "secret", "token"),
    }
)
PAIRS = ("api_key", "access_key", "private_key", "signing_key")
SEPARATORS = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_NAME = r"(?:[\w-]{0,32}(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|dsn))"
# Lengths are limited, so that no text takes quadratic time.
SHAPES = (
    # user:password@ in a URL. The password may contain a slash: SQLAlchemy accepts that.
    (re.compile(r"""://(?:[^\s"'<>/@]{1,256}|[^\s"'<>/@:]{0,128}:[^\s"'<>]{1,256})@"""), f"://{REDACTED}@"),
    # JSON Web Tokens, whole or cut, signed or encrypted: "eyJ" is how {" begins in base64.
    (re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*"), REDACTED),
    (re.compile(r"\b(bearer|basic)\s{1,8}[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\b(authorization|cookie|x-api-key):[^\r\n]+", re.IGNORECASE), rf"\1: {REDACTED}"),
    # name=value as in a query or libpq's keywords, and "name": "value" as in JSON and Python.
    (re.compile(rf"\b({_NAME})=(?!\[REDACTED)[^\s&;,'\")]+", re.IGNORECASE), rf"\1={REDACTED}"),
    (re.compile(rf"""(["']{_NAME}["']\s*:\s*)(?:"[^"]*"?|'[^']*'?)""", re.IGNORECASE), rf"\1'{REDACTED}'"),
)


@lru_cache(1024)
def is_secret(name: str) -> bool:
    """Whether a field is secret by its name, such as access_token, X-Api-Key or databaseDsn."""
    words = [word.lower() for word in SEPARATORS.split(name) if word]
    return not WORDS.isdisjoint(words) or any(pair in "_".join(words) for pair in PAIRS)


def text(value: str) -> str:
    """The text without anything that looks like a secret."""
    for shape, replacement in SHAPES:
        value = shape.sub(replacement, value)
    return value


def short_text(value: str) -> str:
    """Like `text`, for values that contain no headers or JSON: a path, a user agent or an attribute of a span.

    It takes a tenth of a microsecond if there is nothing to hide.
    """
    if "eyJ" in value or "@" in value or "=" in value or "earer " in value:
        return text(value)
    return value
