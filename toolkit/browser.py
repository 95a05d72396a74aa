"""The browser that Playwright drives: the system's own Chromium, for its downloads are not had everywhere."""

import os
import shutil

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
MISSING = "Chromium is not on the PATH: install it, as with apt-get install chromium."


def program() -> str | None:
    """Its path, if there is one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def arguments() -> list[str]:
    """The sandbox needs privileges that containers and root's processes lack."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []
