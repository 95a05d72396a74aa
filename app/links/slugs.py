"""Slugs: the last part of a short link."""

import re
import secrets

MAX_LENGTH = 64
PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}")
# Names that a visitor could take for a page of the service, and names that a later version may need.
RESERVED = frozenset(
    {"about", "account", "admin", "api", "assets", "auth", "billing", "console", "contact", "dashboard", "docs"}
    | {"error", "favicon", "graphql", "health", "healthz", "help", "home", "index", "legal", "links", "livez"}
    | {"login", "logout", "metrics", "new", "oauth", "openapi", "password", "privacy", "readyz", "redoc", "robots"}
    | {"search", "security", "settings", "signin", "signup", "sitemap", "startupz", "static", "status", "support"}
    | {"terms", "token", "user", "users", "verify", "version", "www"}
)

# Without 0 O o, 1 I l: a slug may be read aloud or copied by hand.
ALPHABET = "23456789abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
RANDOM_LENGTH = 8  # 56^8, about 10^14: too many to guess one, or to draw one twice

_LETTERS = str.maketrans({"0": "o", "1": "l", "i": "l", "-": None, "_": None})


def skeleton(slug: str) -> str:
    """A form of `slug` that is the same for slugs that look alike.

    After Unicode's skeletons (UTS 39, section 4), for the few look-alikes within ASCII.
    """
    return slug.lower().translate(_LETTERS).replace("rn", "m").replace("vv", "w")


_RESERVED_SKELETONS = frozenset(map(skeleton, RESERVED))


def is_valid(slug: str) -> bool:
    """Whether a slug is well formed. A reserved one is, too: a link may have got it before the name was reserved."""
    return PATTERN.fullmatch(slug) is not None


def is_reserved(slug: str) -> bool:
    """Whether a slug is a reserved name, or looks like one."""
    return skeleton(slug) in _RESERVED_SKELETONS


def validate(slug: str) -> str:
    """Check a slug that a user has chosen, and return it.

    Raises:
        ValueError: the message is a sentence for the client.
    """
    if not is_valid(slug):
        raise ValueError(f"Use 3 to {MAX_LENGTH} letters, digits, - and _, beginning with a letter or a digit.")
    if is_reserved(slug):
        raise ValueError("This slug is reserved, or looks like a reserved one. Choose another one.")
    return slug


def random_slug() -> str:
    """A slug that is hard to guess and not reserved."""
    while True:
        slug = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
        if not is_reserved(slug):
            return slug
