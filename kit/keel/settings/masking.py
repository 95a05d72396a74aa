"""Masks secrets in URLs, for logs, messages and `python -m app config`."""

import re

USER = re.compile(r"(:/+).*@", re.DOTALL)  # to the last @: a password may contain one that is not encoded
QUERY_VALUE = re.compile(r"([?&][^=&#]*=)[^&#]*")
MASK = "***"
MAX_SHOWN = 100  # characters of a wrong value


def mask_url(text: str) -> str:
    """A URL without user, password and the values of its query; any other text unchanged."""
    if ":/" not in text:
        return text
    return QUERY_VALUE.sub(rf"\1{MASK}", USER.sub(rf"\1{MASK}@", text))


def shown(text: str) -> str:
    """A wrong value for a message: quoted, masked and shortened."""
    masked = mask_url(text)
    return repr(masked if len(masked) <= MAX_SHOWN else f"{masked[:MAX_SHOWN]}…")
