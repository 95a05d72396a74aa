"""Screenshots of the pages, as for a README."""

import io
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from toolkit import browser
from toolkit.process import Failure

WIDTH = 1600
COLORS = 256
VISIBLE = 7.7  # a distance between colours
Color = tuple[int, int, int]


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
        for page in pages:
            shown.goto(page.resolve().as_uri())
            taken.append(folder / f"{page.stem}.png")
            taken[-1].write_bytes(_shrunk(shown.screenshot(full_page=True)))
        started.close()
    return taken


def _shrunk(picture: bytes) -> bytes:
    """The same in few colours, a third as large: the most frequent of those that differ visibly, and the others as the
    nearest of them. Pillow's own choices mix the page's background with that of the panels."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    parts = iter(image.tobytes())
    pixels = list(zip(parts, parts, parts, strict=True))
    palette: list[Color] = []
    indices: dict[Color, int] = {}
    for color, _ in Counter(pixels).most_common():
        far, nearest = min(((math.dist(color, each), at) for at, each in enumerate(palette)), default=(math.inf, 0))
        if far > VISIBLE and len(palette) < COLORS:
            nearest = len(palette)
            palette.append(color)
        indices[color] = nearest
    few = Image.frombytes("P", image.size, bytes(indices[color] for color in pixels))
    few.putpalette([part for color in palette for part in color])
    made = io.BytesIO()
    few.save(made, "PNG", optimize=True)
    return made.getvalue()
