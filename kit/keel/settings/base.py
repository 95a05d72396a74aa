"""The base of all settings: where they are read from, and the messages about mistakes in them.

A file in APP_SECRETS_DIR has the name of the variable in lower case (app_database_url). If both are set, the
environment takes precedence. An empty variable counts as not set.
"""

import contextlib
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from keel.settings.masking import mask_url, shown

SECRETS_DIR = "APP_SECRETS_DIR"
DEFAULT_SECRETS_DIR = Path("/run/secrets/app")
MAX_CHARACTERS = 20_000  # of the value of a setting

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class ConfigurationError(Exception):
    """The settings are not valid: one sentence for each mistake, which names the variable and never shows a secret."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class OwnSettings(BaseSettings):
    """Settings with one prefix. A domain derives its own class: `class Ours(OwnSettings, env_prefix="OURS_")`."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    several_lines: ClassVar[tuple[str, ...]] = ()
    """Fields whose values may contain line feeds and tabs, such as JSON."""
    never_shown: ClassVar[tuple[str, ...]] = ()
    """Fields whose values no message shows, besides those of the type SecretStr."""

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed(cls, value: object, info: ValidationInfo) -> object:
        """Strip white space, such as the line feed at the end of a YAML block, and refuse unprintable characters."""
        if not isinstance(value, str):
            return value
        value = value.strip()
        if len(value) > MAX_CHARACTERS:
            raise ValueError(f"must not be longer than {MAX_CHARACTERS} characters")
        if not value.isprintable() and info.field_name not in cls.several_lines:
            raise ValueError("must not contain line feeds, tabs or other unprintable characters")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        directory = Path(os.environ.get(SECRETS_DIR, "").strip() or DEFAULT_SECRETS_DIR)
        files: list[PydanticBaseSettingsSource] = []
        with contextlib.suppress(OSError):  # the validator of the setting reports what is not a path
            if directory.is_dir():
                files.append(SecretsSettingsSource(settings_cls, directory))
        return (init_settings, env_settings, *files)

    @classmethod
    def load(cls) -> Self:
        """Read the environment and the secrets directory.

        Raises:
            ConfigurationError: with all mistakes at once.
        """
        try:
            with warnings.catch_warnings():
                # If pydantic-settings ignores a file, such as a link out of the directory, fail instead of using the
                # default.
                warnings.filterwarnings("error", "attempted to load secret file", UserWarning)
                return cls()
        except ValidationError as error:
            raise ConfigurationError(*cls._sentences(error, os.environ)) from None
        except (OSError, SettingsError) as error:
            reason = error.__cause__ or error
            raise ConfigurationError(f"{SECRETS_DIR}: a secret file cannot be read: {reason}") from None

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of the field `name`."""
        return str(cls.model_config.get("env_prefix", "")) + name.upper()

    @classmethod
    def variables(cls) -> list[str]:
        """All environment variables of the class."""
        return [cls.variable(name) for name in cls.model_fields]

    def effective(self) -> dict[str, object]:
        """Every variable with the value in force. Passwords are masked."""
        dumped = self.model_dump(mode="json")
        return {
            self.variable(name): mask_url(value) if isinstance(value, str) else value for name, value in dumped.items()
        }

    @classmethod
    def _sentences(cls, error: ValidationError, environ: Mapping[str, str]) -> list[str]:
        secret = {name for name, field in cls.model_fields.items() if "SecretStr" in str(field.annotation)}
        sentences = []
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            field = str(problem["loc"][0])
            name = cls.variable(field)
            text = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            text = text.replace("a valid boolean, unable to interpret input", "true or false")
            shows = name in environ and field not in secret and field not in cls.never_shown
            sentences.append(f"{name}: {text}{f' (it is {shown(environ[name])})' if shows else ''}")
        return sentences


def unknown_variables(environ: Mapping[str, str], classes: Iterable[type[OwnSettings]]) -> dict[str, str | None]:
    """Variables with a prefix of `classes` but an unknown name, each with a similar known name, if any."""
    import difflib  # noqa: PLC0415  # rarely needed

    known = [name for settings in classes for name in settings.variables()]
    prefixes = tuple(str(settings.model_config.get("env_prefix", "")) for settings in classes)
    strangers = [name for name in environ if name.startswith(prefixes) and name not in known]
    return {name: next(iter(difflib.get_close_matches(name, known, 1)), None) for name in sorted(strangers)}
