"""SQLAlchemy's asyncio engine, imported without the ORM, which saves 6 MiB of memory.

The package sqlalchemy.ext.asyncio imports both. So its module `engine` is imported as if the package were empty.
Whoever imports the package itself later gets the same classes.
"""

import sys
from importlib.util import find_spec, module_from_spec

__all__ = ["AsyncConnection", "AsyncEngine", "create_async_engine"]

_PACKAGE = "sqlalchemy.ext.asyncio"

_is_whole = _PACKAGE in sys.modules
if not _is_whole:
    _spec = find_spec(_PACKAGE)
    assert _spec is not None  # noqa: S101 - it is a part of SQLAlchemy
    sys.modules[_PACKAGE] = module_from_spec(_spec)  # knows where its modules are, but has not imported them
try:
    from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine, create_async_engine
finally:
    if not _is_whole:
        del sys.modules[_PACKAGE]
