"""Settings: from environment variables, or from files in a secrets directory."""

from keel.settings.base import ConfigurationError, OwnSettings, unknown_variables
from keel.settings.settings import PREFIX, Settings, settings_of

__all__ = ["PREFIX", "ConfigurationError", "OwnSettings", "Settings", "settings_of", "unknown_variables"]
