"""Which URLs may be linked to."""

import re

from pydantic_core import SchemaValidator, Url, ValidationError, core_schema

MAX_CHARACTERS = 2048
FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")
# The WHATWG URL Standard, as browsers follow it: what we check is what they will open.
WHATWG = SchemaValidator(core_schema.url_schema())


def normalise(text: str, public_url: str) -> str:
    """`text` as a browser understands it: host in ASCII and lower case, path percent-encoded.

    Raises:
        ValueError: it is no absolute http or https URL, holds credentials, is too long, or leads
            back to `public_url`. The message is a sentence for the client.
    """
    if FORBIDDEN.search(text):
        raise ValueError("The URL holds a space, a backslash or a control character.")
    try:
        url: Url = WHATWG.validate_python(text)
    except ValidationError:
        raise ValueError("This is not an absolute URL such as https://example.com/page.") from None
    if url.scheme not in ("http", "https") or not text.lower().startswith(f"{url.scheme}://"):
        raise ValueError("Only URLs that begin with http:// or https:// can be linked to.")
    if url.username is not None or url.password is not None:
        raise ValueError("The URL holds a user name or password.")
    if len(str(url)) > MAX_CHARACTERS:
        raise ValueError(f"The URL exceeds {MAX_CHARACTERS} characters.")
    own: Url = WHATWG.validate_python(public_url)
    if (url.host or "").rstrip(".") == own.host:
        raise ValueError("The URL leads back to this service.")
    return str(url)
