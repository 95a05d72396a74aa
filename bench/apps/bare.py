"""FastAPI and nothing else. Called with "imports", it imports what the service imports, to compare start-up times."""

import sys

from fastapi import FastAPI

from bench.apps.answers import add_routes, serve

if sys.argv[3:] == ["imports"]:
    import keel.cli
    import keel.server  # noqa: F401

application = FastAPI()
add_routes(application)
serve(application)
