"""Settings of the links: environment variables with the prefix LINKS_."""

from pydantic import Field

from keel.settings import OwnSettings
from keel.settings.base import Seconds


class LinkSettings(OwnSettings, env_prefix="LINKS_"):
    """Settings of the links."""

    click_flush_seconds: Seconds = 1
    """How often counted clicks are written."""
    deleted_slug_days: int = Field(default=30, ge=0, le=3650)
    """How long the slug of a deleted link is given to nobody but its owner; 0 gives it to anybody at once."""
