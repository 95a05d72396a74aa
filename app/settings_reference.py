"""What every setting means, for people: docs/configuration.md is what this prints."""

import ast
import inspect
from itertools import pairwise
from typing import Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.settings import PREFIX, Settings

INTRODUCTION = """\
# Configuration

Environment variables, or files in a secrets directory: a file in `APP_SECRETS_DIR` is named like the variable in lower
case (`app_database_url`). The environment wins where both are set; an empty variable counts as not set. Every mistake
is listed at the start, all at once. `python -m app config` prints what is in force, secrets masked.

| variable | default | |
|---|---|---|"""


def reference() -> str:
    """A Markdown document."""
    texts = _texts()
    rows = (
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {_text(field, texts[name])} |" for name, field in _fields()
    )
    return "\n".join([INTRODUCTION, *rows])


def _fields() -> list[tuple[str, FieldInfo]]:
    return list(Settings.model_fields.items())


def _default(field: FieldInfo) -> str:
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if isinstance(value, bool):
        value = str(value).lower()
    return "" if field.default_factory or value in (None, "") else f"`{value}`"


def _texts() -> dict[str, str]:
    """What is said of each setting: the string below it.

    Pydantic can read them itself, but then does so at each start of the service, which takes 0.04 s.
    """
    (settings,) = ast.parse(inspect.getsource(Settings)).body
    assert isinstance(settings, ast.ClassDef)  # noqa: S101 - for the type checker
    texts = {}
    for pair in pairwise(settings.body):
        match pair:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = text
    return texts


def _text(field: FieldInfo, text: str) -> str:
    text = " ".join(text.split())
    if get_origin(field.annotation) is not Literal:
        return text
    return f"{text} One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."
