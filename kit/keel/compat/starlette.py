from starlette._exception_handler import wrap_app_handling_exceptions

__all__ = ["EXCEPTION_HANDLERS", "wrap_app_handling_exceptions"]

EXCEPTION_HANDLERS = "starlette.exception_handlers"
"""Key in the scope where routes find the exception handlers."""
