"""Validates bodies where that needs the time or this service's own names, and prepares their values for storage."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from app.links.schemas import LinkPatch, NewLink
from app.links.urls import UrlPolicy
from keel.errors.problems import FieldError, invalid

LONGEST_LIFE = timedelta(days=3653)  # ten years


def accept(body: NewLink | LinkPatch, urls: UrlPolicy) -> dict[str, Any]:
    """The columns that `body` sets.

    Raises:
        Problem: 422, naming every field that is not valid.
    """
    values = body.model_dump(exclude_unset=True)
    errors = []
    checks: dict[str, Callable[[Any], Any]] = {"url": urls.normalise, "expires_at": check_expiry}
    for name, check in checks.items():
        if name not in values:
            continue
        try:
            values[name] = check(values[name])
        except ValueError as error:
            errors.append(FieldError(detail=str(error), pointer=f"#/{name}"))
    if errors:
        raise invalid(*errors)
    return values


def check_expiry(expires_at: datetime | None) -> datetime | None:
    """`expires_at` in UTC.

    Raises:
        ValueError: it is in the past, or too far away. The message is a sentence for the client.
    """
    now = datetime.now(UTC)
    if expires_at is None:
        return None
    if not now < expires_at <= now + LONGEST_LIFE:
        raise ValueError("Choose a time in the future, within ten years.")
    return expires_at.astimezone(UTC)
