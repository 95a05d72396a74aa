"""Prints a table of all settings, which is docs/configuration.md."""

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from keel.settings.base import OwnSettings

INTRODUCTION = """\
# Configuration

Settings are environment variables, or files in a secrets directory: a file in `APP_SECRETS_DIR` has the name of the
variable in lower case (`app_database_url`). If both are set, the environment takes precedence. An empty variable counts
as not set. The start lists all mistakes at once. `python -m app config` prints the settings in force, with secrets
masked.

| variable | default | |
|---|---|---|"""


def reference(classes: Iterable[type[OwnSettings]]) -> str:
    """A Markdown document of the settings of these classes."""
    return "\n".join([INTRODUCTION, *(row for settings in classes for row in _rows(settings))])


def _rows(settings: type[OwnSettings]) -> Iterator[str]:
    texts = _texts(settings)
    for name, field in settings.model_fields.items():
        yield f"| `{settings.variable(name)}` | {_default(field)} | {_text(field, texts[name])} |"


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if isinstance(value, bool):
        value = str(value).lower()
    return "" if field.default_factory or value in (None, "") else f"`{value}`"


def _texts(settings: type[OwnSettings]) -> dict[str, str]:
    """The text of each setting: the string below the field.

    Pydantic can read these strings too, but would do so at each start of the service, which takes 0.04 s.
    """
    texts = {}
    for each in reversed(settings.__mro__):
        if not issubclass(each, OwnSettings):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(definition, ast.ClassDef)  # noqa: S101 - for the type checker
        for pair in pairwise(definition.body):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    texts[name] = text
    return texts


def _text(field: FieldInfo, text: str) -> str:
    text = " ".join(text.split())
    if get_origin(field.annotation) is not Literal:
        return text
    return f"{text} One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."
