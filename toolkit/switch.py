"""Variables of make that are a yes or a no."""

from toolkit.process import Failure


def switch(name: str, text: str) -> bool:
    """Whether a variable's text is a yes. Raises Failure for what is neither."""
    if text.lower() not in {"", "0", "1", "true", "false"}:
        raise Failure(f"{name} is '{text}': give 1, or leave it out.")
    return text.lower() in {"1", "true"}
