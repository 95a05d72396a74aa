"""Slugs: the last part of a short link."""

import re
import secrets

MAX_LENGTH = 64
PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}")
# Names a visitor could mistake for a page of ours, and those that a later version may need.
RESERVED = frozenset(
    {"about", "account", "admin", "api", "assets", "auth", "docs", "favicon", "health", "healthz", "help"}
    | {"home", "index", "links", "livez", "login", "logout", "metrics", "new", "openapi", "privacy", "readyz"}
    | {"robots", "security", "settings", "signup", "startupz", "static", "status", "support", "terms", "www"}
)

# Without 0 O o, 1 I l: a slug may be read aloud or copied by hand.
ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
RANDOM_LENGTH = 8  # 56^8, about 10^14: too many to guess, or to meet one twice


def is_valid(slug: str) -> bool:
    return PATTERN.fullmatch(slug) is not None


def validate(slug: str) -> str:
    """`slug` itself.

    Raises:
        ValueError: with a sentence for the client.
    """
    if not is_valid(slug):
        raise ValueError(f"Use 3 to {MAX_LENGTH} letters, digits, - and _, beginning with a letter or a digit.")
    if slug.lower() in RESERVED:
        raise ValueError("This slug is reserved. Choose another one.")
    return slug


def random_slug() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
