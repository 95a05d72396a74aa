"""Changes to the requests that Schemathesis makes; its process loads this file."""

from typing import Any

import schemathesis
from schemathesis import Case, HookContext

KEY = "Idempotency-Key"
sent: set[str] = set()


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """Send no valid key twice: it would get the first answer again, whatever has become of it since."""
    if KEY not in case.headers or (case.meta and case.meta.generation.mode.is_negative):
        return
    if case.headers[KEY] in sent:
        del case.headers[KEY]
    else:
        sent.add(case.headers[KEY])
