"""Browsers that Playwright can drive, by the names of their programs."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
