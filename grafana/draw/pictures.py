"""Screenshots of the pages, as for a README."""

import base64
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from grafana.draw import png
from toolkit import browser
from toolkit.process import Failure

WIDTH = 1600
SHRINK = Path(__file__).with_name("shrink.js")


def take(pages: Sequence[Path], folder: Path) -> list[Path]:
    """One PNG a page, called like it, of its whole height. Raises Failure without a browser."""
    chromium = browser.program()
    if chromium is None:
        raise Failure(browser.MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=browser.arguments())
        shown = started.new_page(viewport={"width": WIDTH, "height": 900})
        workshop = started.new_page()
        for page in pages:
            shown.goto(page.resolve().as_uri())
            taken.append(folder / f"{page.stem}.png")
            taken[-1].write_bytes(_shrunk(shown.screenshot(full_page=True), workshop))
        started.close()
    return taken


def _shrunk(picture: bytes, page: Page) -> bytes:
    """The same in 256 colours, a third as large. The browser reads the picture: no library of ours can."""
    few = page.evaluate(SHRINK.read_text(encoding="utf-8"), base64.b64encode(picture).decode())
    return png.encode(few["width"], few["height"], few["palette"], base64.b64decode(few["indices"]))
