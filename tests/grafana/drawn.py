"""Drawn pages, as a browser shows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from toolkit import browser

# What a browser makes of a page: of each panel where it is, what it says, and what of it does not fit.
LOOK = """() => [...document.querySelectorAll("main > *")].map((panel) => {
  const all = (selector, get) => [...panel.querySelectorAll(selector)].map(get);
  const box = panel.getBoundingClientRect();
  const value = panel.querySelector(".value");
  return {
    title: (panel.querySelector("h3") ?? panel).textContent,
    about: panel.querySelector("h3")?.title,
    row: panel.matches("h2"),
    box: [box.left, box.top, box.right, box.bottom],
    spills: [panel, ...panel.querySelectorAll(".legend, .rows, .lines, .value, h3")]
      .filter((each) => each.scrollWidth > each.clientWidth).map((each) => each.className || each.tagName),
    sticksOut: all("*", (each) => [each.className, each.getBoundingClientRect()])
      .filter(([, each]) => each.width && (each.left < box.left - 1 || each.right > box.right + 1))
      .map(([name]) => `${name}`),
    value: value?.textContent,
    color: value?.style.getPropertyValue("--color"),
    filled: value?.classList.contains("filled"),
    nothing: panel.querySelector(".nothing")?.textContent,
    legend: all(".legend li", (each) => [each.querySelector("span").textContent, each.querySelector("b").textContent,
      each.querySelector("b").style.color]),
    head: all("th", (each) => each.textContent),
    rows: all("tbody tr", (each) => [...each.children].map((cell) => cell.textContent)),
    links: all("td a", (each) => each.getAttribute("href")),
    lines: all(".line", (each) => each.getAttribute("d")),
    cells: all("rect", (each) => each.textContent),
    dots: all(".dot", (each) => each.title),
    marks: all(".mark", (each) => each.title),
    logs: all(".lines li", (each) => [each.querySelector("span").textContent, each.style.borderColor]),
    times: all(".x span", (each) => each.textContent),
  };
})"""


class Pages:
    """Drawn pages, as a browser shows them."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.complaints: list[str] = []
        self.panels: dict[str, list[dict[str, Any]]] = {}
        self.links: dict[str, list[str]] = {}
        self.foreign: dict[str, int] = {}
        with opened() as started:
            shown = started.new_page(viewport={"width": 1600, "height": 900})
            shown.on("console", lambda message: self.complaints.append(message.text))
            shown.on("request", lambda request: self._asked(request.url))
            for file in files:
                shown.goto(file.as_uri())
                self.panels[file.stem] = shown.evaluate(LOOK)
                anchors = "() => [...document.querySelectorAll('header a')].map((each) => each.getAttribute('href'))"
                self.links[file.stem] = shown.evaluate(anchors)
                scripts = "[...document.querySelectorAll('*')].filter((each) => each.matches('script, img, iframe')"
                handlers = "[...each.attributes].some(({name}) => name.startsWith('on'))"
                self.foreign[file.stem] = shown.evaluate(f"() => {scripts} || {handlers}).length")

    def _asked(self, url: str) -> None:
        if not url.startswith("file:"):
            self.complaints.append(url)

    def one(self, title: str, dashboard: str | None = None) -> dict[str, Any]:
        """A panel; of several of the same title that of a dashboard."""
        found = [
            panel
            for name, panels in self.panels.items()
            for panel in panels
            if panel["title"] == title and dashboard in (None, name) and not panel["row"]
        ]
        assert len(found) == 1, (title, len(found))
        return found[0]


@contextmanager
def opened() -> Iterator[Browser]:
    chromium = browser.program()
    if chromium is None:
        pytest.fail(browser.MISSING)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=browser.arguments())
        yield started
        started.close()
