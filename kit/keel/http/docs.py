"""The page /docs, to read and try the API: Swagger UI from this server, under a strict content security policy."""

import gzip
import hashlib
import html
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keel.http import etags
from keel.settings import Settings

OPENAPI_URL = "/api/openapi.json"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{title} API</title>
    <link rel="icon" href="docs/favicon-32x32.png">
    <link rel="stylesheet" href="docs/swagger-ui.css">
    <script src="docs/swagger-ui-bundle.js" defer></script>
    <script src="docs/start.js" type="module"></script>
  </head>
  <body>
    <div id="swagger-ui"></div>
    <noscript>This page needs JavaScript. The OpenAPI document is at <a href="/api/openapi.json">/api/openapi.json</a>.
    </noscript>
  </body>
</html>
"""
# "Try it out" sends requests to the page's own origin: the policy allows no other.
START = """\
const answer = await fetch("/api/openapi.json");
const spec = await answer.json();
SwaggerUIBundle({
  spec: {...spec, servers: [{url: "/"}]},
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
});
"""
MEDIA_TYPES = {
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    compressed: bytes
    etag: str


def enabled(settings: Settings) -> bool:
    """Whether APP_DOCS has the page and the OpenAPI document served."""
    if settings.docs == "auto":
        return settings.environment != "production"
    return settings.docs == "on"


def install(app: FastAPI) -> None:
    """Add the page and its files to `app`."""
    app.add_route("/docs", page, include_in_schema=False)
    app.add_route("/docs/{name}", asset, include_in_schema=False)


async def page(request: Request) -> Response:
    """The page."""
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY, "Cache-Control": "no-cache"}
    content = PAGE.format(title=html.escape(request.app.title))
    return Response(content, media_type="text/html", headers=headers)


async def asset(request: Request) -> Response:
    """A file of the page, compressed if the client takes that."""
    name = request.path_params["name"]
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    found = load(name)
    # Browsers cache the file, and revalidate it. The ETag is weak, as it is the same for both encodings.
    headers = {"ETag": f"W/{found.etag}", "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if not etags.if_none_match(request.headers.getlist("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    content = found.content
    if takes_gzip(request.headers.get("accept-encoding", "")):
        content = found.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=MEDIA_TYPES[name], headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header allows gzip (RFC 9110, section 12.5.3)."""
    weights = {coding.strip().lower(): weight for coding, weight in map(_weighed, accept_encoding.split(","))}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weighed(item: str) -> tuple[str, float]:
    coding, _, parameter = item.partition(";")
    name, _, value = parameter.partition("=")
    try:
        return coding, float(value) if name.strip().lower() == "q" else 1.0
    except ValueError:
        return coding, 0.0


@cache
def load(name: str) -> Asset:
    """Read a file of the page, once in a process."""
    content = START.encode() if name == "start.js" else (_resources() / name).read_bytes()
    etag = etags.strong(hashlib.sha256(content).hexdigest()[:32])
    return Asset(content, gzip.compress(content, 6, mtime=0), etag)


def _resources() -> Path:
    """The folder where fastapi-swagger has the files of Swagger UI. It is not imported."""
    spec = importlib.util.find_spec("fastapi_swagger")
    assert spec is not None  # noqa: S101 - it is one of our dependencies
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).parent / "resources"
