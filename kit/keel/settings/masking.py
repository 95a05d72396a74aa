"""What may be shown of an address that may hold a secret, in logs and in what `python -m app config` prints."""

import re

USER = re.compile(r"(:/+).*@", re.DOTALL)  # to the last @: one in a password may not be encoded
QUERY_VALUE = re.compile(r"([?&][^=&#]*=)[^&#]*")
MASK = "***"
MAX_SHOWN = 100  # characters of a mistake


def mask_url(text: str) -> str:
    """A URL without user, password and the values in its query; other text as it is."""
    if ":/" not in text:
        return text
    return QUERY_VALUE.sub(rf"\1{MASK}", USER.sub(rf"\1{MASK}@", text))


def shown(text: str) -> str:
    """What was given by mistake, for a sentence that says so: quoted, masked and not longer than a line."""
    masked = mask_url(text)
    return repr(masked if len(masked) <= MAX_SHOWN else f"{masked[:MAX_SHOWN]}…")
