"""SQLAlchemy's asyncio engine without its ORM, which the package that it is in imports as well, in 6 MiB of memory.

So the engine's module is imported as if its package were empty. The package itself is left to be imported by whoever
wants all of it, and then has the same classes.
"""

import sys
from importlib.util import find_spec, module_from_spec

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]

_PACKAGE = "sqlalchemy.ext.asyncio"

_is_whole = _PACKAGE in sys.modules
if not _is_whole:
    _spec = find_spec(_PACKAGE)
    assert _spec is not None  # noqa: S101 - it is a part of SQLAlchemy
    sys.modules[_PACKAGE] = module_from_spec(_spec)  # where its modules are, and nothing else
try:
    from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine
finally:
    if not _is_whole:
        del sys.modules[_PACKAGE]
