from starlette._exception_handler import wrap_app_handling_exceptions

__all__ = ["EXCEPTION_HANDLERS", "wrap_app_handling_exceptions"]

EXCEPTION_HANDLERS = "starlette.exception_handlers"
"""Is in the scope, for routes to find their handlers in."""
