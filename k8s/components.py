"""The components of the local platform, by their component.yaml; kustomize applies the manifests beside it."""

from functools import cache as once
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.paths import PLATFORM, shown
from toolkit.process import Failure

FILE = "component.yaml"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Page(Section):
    """Where `make dashboards` leads to. `{namespace}` and `{release}` stand for the release's."""

    what: str
    path: str
    query: dict[str, str] = {}


class Port(Section):
    """What is reached from the host."""

    node: int = Field(gt=0, lt=65536)
    """The node's port that it is published by: the Service's nodePort."""
    host: int = Field(gt=0, lt=65536)
    """The port of 127.0.0.1, unless $NAME_PORT names another one."""
    label: str = ""
    """What `make up` calls it at its end; without it nothing is said of it there."""
    path: str = ""
    """Where its pages begin."""
    note: str = ""
    page: Page | None = None


class Component(Section):
    """One folder of the platform."""

    name: str
    definitions: bool = False
    """It has resource definitions that others need: it is applied before them."""
    pulled: bool = False
    """Its images cannot be built: it is there only where images are pulled."""
    optional: bool = False
    """It can be left out (`make up WITHOUT=...`), and nothing else may need it."""
    upstream: list[str] = []
    """What it patches of the `manifests` of images.lock.yaml."""
    copies: dict[str, str] = {}
    """What its manifests read of elsewhere: folder beside them → folder of the checkout."""
    workloads: dict[str, list[str]] = {}
    """What is waited for: namespace → KIND/NAME."""
    ports: dict[str, Port] = {}
    without: dict[str, str] = {}
    """Settings of the service (`config` of the chart's values) where the component is not there."""


@once
def load(folder: Path = PLATFORM) -> list[Component]:
    """The components by name. Raises Failure with a sentence for what is wrong with a file."""
    found = []
    for file in sorted(folder.glob(f"*/{FILE}")):
        try:
            found.append(Component(**{**(yaml.safe_load(file.read_text()) or {}), "name": file.parent.name}))
        except (ValidationError, TypeError, yaml.YAMLError) as error:
            raise Failure(f"{shown(file)} is wrong: {error}") from None
    return found


def optional() -> list[str]:
    """What can be left out."""
    return [component.name for component in load() if component.optional]


def ports() -> dict[str, Port]:
    """Everything that is published, by name, in the order of the nodes' ports."""
    every = {name: port for component in load() for name, port in component.ports.items()}
    return dict(sorted(every.items(), key=lambda item: item[1].node))
