"""Settings of the links: environment variables with the prefix LINKS_."""

from pydantic import Field

from keel.settings import OwnSettings
from keel.settings.base import Seconds


class LinkSettings(OwnSettings, env_prefix="LINKS_"):
    """Settings of the links."""

    click_flush_seconds: Seconds = 1
    """How often counted clicks are written."""
    deleted_slug_days: int = Field(default=30, ge=0, le=3650)
    """How long only its owner can use the slug of a deleted link again; 0 lets anybody do so at once."""
    check_targets: bool = False
    """Whether the targets of links are asked if they are still there: when a link is made, and each night."""
    check_private_targets: bool = False
    """Whether targets with addresses that are not public are asked, too. Anybody who makes a link chooses whom the
    service talks to, so leave it off unless all of them may reach what the pods can reach."""
