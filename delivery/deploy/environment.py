"""Where to deploy: one environment of k8s/environments/deploy.yaml. A misspelt setting is refused, never ignored."""

import os
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from delivery.deploy import values
from k8s import facts
from toolkit.paths import ROOT, shown
from toolkit.process import Failure

# That a canary makes beside those of its steps, on the way there and back, and the one to go back to.
REVISIONS = 6
FILE = ROOT / "k8s" / "environments" / "deploy.yaml"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prometheus(Section):
    """The service through which the API server leads to Prometheus."""

    namespace: str
    service: str
    port: int = Field(gt=0, lt=65536)


class Bake(Section):
    """How long the new version is watched, and what it may not do. Where a limit is left out, the release's own
    objectives say it."""

    seconds: float = Field(default=300, ge=0, le=86400)
    every: float = Field(default=5, ge=1, le=60)
    burn_rate: float | None = Field(default=None, gt=0)
    minimum_bad: int | None = Field(default=None, ge=1)
    minimum_requests: int = Field(default=100, ge=1)
    """Fewer prove nothing, and the summary says so."""
    failed_tasks: float = Field(default=0.5, gt=0, le=1)
    """Share of the attempts at a kind of task that may fail; 1 judges none."""


class Canary(Section):
    """The new version beside the present one at first, with a share of the requests that grows."""

    steps: list[int] = Field(default=[5, 25, 50], min_length=1)
    """Shares of the requests, in percent."""
    seconds: float = Field(default=60, ge=0, le=86400)
    """How long each step is watched."""
    replicas: int | None = Field(default=None, ge=1)
    """Its pods; by default as many as its share of those that serve."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        rising = all(one < another for one, another in zip([0, *self.steps], self.steps, strict=False))
        if not rising or self.steps[-1] > 100:
            raise ValueError("write steps that rise from 1 to at most 100, such as [5, 25, 50]")
        return self


class Smoke(Section):
    """What is asked over the public address."""

    path: str = Field(default="/", pattern="^/")
    answers: int = Field(default=20, ge=1, le=1000)
    """Good ones in a row, all from pods of the new version."""
    missing: str | None = Field(default="/api/v1/no-such-thing", pattern="^/")
    """A path that there is not: its answer must be a problem (RFC 9457). null: not asked."""
    requests: bool = True
    """Whether those of `helm test` (`tests.requests` of the values) are asked there, too."""
    connect: str | None = None
    """Connect to this address instead of what DNS says."""
    ca: Path | None = None
    """The authority to trust instead of the public ones."""
    plain: str | None = Field(default=None, pattern="^http://")
    """The address without TLS, which must redirect; http:// and the host where the URL names no port."""


class Signature(Section):
    """By whom an image must be signed: a key, or an identity as an issuer has vouched for it."""

    key: Path | None = None
    identity: str | None = None
    issuer: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.key) == bool(self.identity) or bool(self.identity) != bool(self.issuer):
            raise ValueError("give a key, or an identity and its issuer")
        return self


class Links(Section):
    """What the summary leads to; by default what `prometheusRule` of the values says."""

    dashboards: str | None = None
    runbooks: str | None = None


class Environment(Section):
    """One environment. Files are named from where this one lies."""

    name: str
    up: bool = False
    """Context, namespace, release, address and authority are those of build/up.json, which `make up` writes."""
    context: str | None = None
    """Of the kubeconfig; the current one when left out. KUBE_CONTEXT wins over both."""
    namespace: str = ""
    release: str = ""
    values: list[Path] = Field(min_length=1)
    set: dict[str, Any] = Field(default_factory=dict)
    """Values on top of the files'."""
    url: str = Field(default="", pattern="^(https://[^/]+)?$")
    """The public address; the values' `config.APP_PUBLIC_URL` when left out."""
    timeout: int = Field(default=300, ge=10, le=3600)
    """Seconds for the migrations, and again for the rollout."""
    history: int = Field(default=10, ge=2)
    """Revisions to keep, to go back to."""
    prometheus: Prometheus | None = None
    bake: Bake = Bake()
    canary: Canary | None = None
    """None: the new version replaces the present one pod by pod."""
    smoke: Smoke = Smoke()
    signature: Signature | None = None
    links: Links = Links()

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not self.up and not (self.namespace and self.release):
            raise ValueError("name a namespace and a release")
        if self.canary and self.history < (least := len(self.canary.steps) + REVISIONS):
            raise ValueError(f"each step of a canary is a revision, so history must be at least {least}")
        return self

    @property
    def plain(self) -> str | None:
        """Where plain HTTP is to be redirected, if that is known."""
        parts = urlsplit(self.url)
        return self.smoke.plain or (f"http://{parts.hostname}" if parts.port is None else None)


def load(name: str, file: Path = FILE) -> Environment:
    """The environment of that name. Raises Failure with a sentence for whatever is wrong with the file."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise Failure(f"The environments in {shown(file)} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise Failure(f"{shown(file)} names no environment: write `staging:` and below it what belongs to it.")
    known = ", ".join(map(str, content))
    if not name:
        raise Failure(f"ENV is not set: give one of {known} (ENV=...).")
    if name not in content:
        raise Failure(f"ENV is '{name}', and {shown(file)} has no such environment: give one of {known}.")
    try:
        found = Environment(**{**(content[name] or {}), "name": name})
    except (ValidationError, TypeError) as error:
        raise Failure(f"The environment {name} in {shown(file)} is wrong:\n{_sentences(error)}") from None
    return _complete(found, file.parent)


def _complete(found: Environment, folder: Path) -> Environment:
    """With whole paths, the facts of `make up`, the context and the address filled in."""
    smoke = found.smoke
    changes: dict[str, Any] = {"values": [folder / each for each in found.values]}
    if smoke.ca:
        smoke = smoke.model_copy(update={"ca": folder / smoke.ca})
    if found.signature and found.signature.key:
        changes["signature"] = Signature(key=folder / found.signature.key)
    if found.up:
        known = facts.load()
        config = facts.config_of(known)  # what `make up` itself sets, so that both make the same release
        changes |= {name: known[name] for name in ("namespace", "release", "url")}
        changes |= {"context": known.get("context"), "set": values.merge({"config": config}, found.set)}
        smoke = smoke.model_copy(update={"ca": Path(known["ca"]), "plain": known.get("plain")})
        changes["links"] = Links(
            dashboards=found.links.dashboards or known.get("grafana"), runbooks=found.links.runbooks
        )
    changes["smoke"] = smoke
    changes["context"] = os.environ.get("KUBE_CONTEXT") or changes.get("context") or found.context
    done = found.model_copy(update=changes)
    if not done.url:
        url = str(values.load(done.values, done.set).get("config", {}).get("APP_PUBLIC_URL", ""))
        if not url.startswith("https://"):
            raise Failure(
                f"The environment {found.name} has no public address: set `url: https://...`, or config.APP_PUBLIC_URL "
                "in its values."
            )
        done = done.model_copy(update={"url": url.rstrip("/")})
    return done


def _sentences(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return "  it is no map: write `key: value`."
    lines = []
    for each in error.errors():
        where = ".".join(str(part) for part in each["loc"]) or "it"
        match each["type"]:
            case "extra_forbidden":
                lines.append(f"{where} is no setting; there are {', '.join(_known(each['loc'][:-1]))}.")
            case "missing":
                lines.append(f"{where} is missing.")
            case _:
                lines.append(f"{where}: {each['msg'].removeprefix('Value error, ')}.")
    return "\n".join(f"  {line}" for line in lines)


def _known(location: tuple[int | str, ...]) -> list[str]:
    """The settings of a section."""
    model: Any = Environment
    for part in location:
        annotation = model.model_fields[part].annotation
        model = next(
            each
            for each in (annotation, *getattr(annotation, "__args__", ()))
            if isinstance(each, type) and issubclass(each, BaseModel)
        )
    return [name for name in model.model_fields if name != "name"]
