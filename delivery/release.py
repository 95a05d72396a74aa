"""One version for app, chart and image; what a release says of itself; the chart as an OCI artifact.

Versions are semantic (https://semver.org), the changelog is kept as https://keepachangelog.com asks.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

import yaml

from offline.image_build import Built
from toolkit.paths import BUILD, CHART, ROOT
from toolkit.process import Failure, output

SEMVER = r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
HEADING = re.compile(rf"^## (\[Unreleased\]|\[{SEMVER}\] - \d{{4}}-\d{{2}}-\d{{2}})$", flags=re.MULTILINE)
CHARTS = BUILD / "charts"
FACTS = {"image": BUILD / "image.json", "chart": BUILD / "chart.json"}


def versions(root: Path = ROOT) -> dict[str, str]:
    """Every place that names the version, and what it says."""
    app = re.search(r'^__version__ = "(.+)"$', (root / "app" / "__init__.py").read_text(encoding="utf-8"), flags=re.M)
    chart = yaml.safe_load((root / "charts" / "fastapi-service" / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kit = tomllib.loads((root / "kit" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "app/__init__.py": app[1] if app else "",
        "pyproject.toml": str(project.get("version", "")),
        "kit/pyproject.toml": str(kit.get("version", "")),
        "Chart.yaml, version": str(chart.get("version", "")),
        "Chart.yaml, appVersion": str(chart.get("appVersion", "")),
        "CHANGELOG.md": next((name for name in sections(root) if name != "Unreleased"), ""),
    }


def sections(root: Path = ROOT) -> dict[str, str]:
    """The changelog's sections by version, newest first."""
    whole = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    for line in whole.splitlines():
        if line.startswith("## ") and not HEADING.fullmatch(line):
            raise Failure(
                f"CHANGELOG.md has the heading '{line}': write '## [1.2.3] - 2026-01-31', or '## [Unreleased]'."
            )
    parts = HEADING.split(whole)[1:]
    names = [heading[1:].partition("]")[0] for heading in parts[::2]]
    if twice := [name for name in names if names.count(name) > 1]:
        raise Failure(f"CHANGELOG.md has the heading [{twice[0]}] twice: put what is under them under one.")
    # The links at the end belong to no section.
    texts = (re.sub(r"^\[[^]]+\]: .*$", "", text, flags=re.MULTILINE).strip() for text in parts[1::2])
    return dict(zip(names, texts, strict=True))


def agreed(tag: str = "", root: Path = ROOT) -> str:
    """The version that all agree on. Raises Failure where they do not, or where a tag is another's."""
    named = versions(root)
    version = named["app/__init__.py"]
    if len(set(named.values())) > 1:
        listed = "\n".join(f"  {where:<24}{said or '(none)'}" for where, said in named.items())
        raise Failure(f"The version is not the same everywhere:\n{listed}")
    if not re.fullmatch(SEMVER, version):
        raise Failure(f"The version is '{version}': make it a semantic one, such as 1.2.3.")
    if tag:
        if tag != f"v{version}":
            raise Failure(f"The tag is '{tag}', but the version is {version}: tag the commit v{version}.")
        if sections(root).get("Unreleased"):
            raise Failure(f"CHANGELOG.md has entries under Unreleased: move them under {version} before its release.")
    return version


def notes(tag: str, root: Path = ROOT) -> str:
    """What the changelog says of a release. Raises Failure where it says nothing."""
    if not tag:
        raise Failure("Which version? Give its tag, TAG=v1.2.3.")
    text = sections(root).get(tag.removeprefix("v"), "")
    if not text:
        raise Failure(f"CHANGELOG.md has nothing under [{tag.removeprefix('v')}]: say what has changed for whom.")
    return text


def package(registry: str = "") -> tuple[Path, Built | None]:
    """The chart's archive; pushed as well where a registry (oci://...) is named. Raises Failure."""
    version = agreed()
    CHARTS.mkdir(parents=True, exist_ok=True)
    archive = CHARTS / f"{CHART.name}-{version}.tgz"
    with tempfile.TemporaryDirectory() as folder:
        output(["helm", "package", CHART, "--destination", folder])
        shutil.move(Path(folder) / archive.name, archive)
    return archive, push(archive, registry) if registry else None


def push(archive: Path, registry: str) -> Built:
    """Push a chart's archive; a registry of this machine is spoken to without TLS."""
    if not re.fullmatch(r"oci://[^\s@]+", registry):
        raise Failure(f"CHART_REGISTRY is '{registry}': give registry and folder, oci://registry.example.com/charts.")
    registry = registry.rstrip("/")
    plain = ["--plain-http"] if re.match(r"oci://(127\.0\.0\.1|localhost)[:/]", registry) else []
    # Helm says on standard error where it has pushed to.
    said = output(["sh", "-c", 'exec "$@" 2>&1', "sh", "helm", "push", str(archive), registry, *plain])
    digest = re.search(r"sha256:[0-9a-f]{64}", said)
    if not digest:
        raise Failure(f"Helm did not say what it has pushed: {said.strip()}")
    pushed = Built(f"{registry.removeprefix('oci://')}/{CHART.name}", digest[0])
    FACTS["chart"].write_text(json.dumps({"repository": pushed.repository, "digest": pushed.digest}) + "\n")
    return pushed


def outputs() -> dict[str, str]:
    """What this checkout has pushed, as a pipeline's later steps want it: name, repository and digest of each."""
    found: dict[str, str] = {}
    for name, file in FACTS.items():
        if file.exists():
            facts = json.loads(file.read_text(encoding="utf-8"))
            found[name] = f"{facts['repository']}@{facts['digest']}"
            found |= {f"{name}_{key}": facts[key] for key in ("repository", "digest")}
    if not found:
        raise Failure("Nothing was pushed from here yet: `make image` and `make package CHART_REGISTRY=...` do so.")
    return found


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    given = os.environ.get  # make hands its variables on this way, past any shell
    command = commands.add_parser("version", help="the one version, if all places agree on it")
    command.add_argument("--tag", default=given("TAG", ""), help="the tag that is to be released (default: $TAG)")
    command.set_defaults(run=lambda args: say(agreed(args.tag)))
    command = commands.add_parser("release-notes", help="what the changelog says of a version")
    command.add_argument("tag", nargs="?", default=given("TAG", ""), help="v1.2.3 (default: $TAG)")
    command.set_defaults(run=lambda args: say(notes(args.tag)))
    command = commands.add_parser("package", help="package the chart, and push it if a registry is named")
    command.add_argument(
        "--registry", default=given("CHART_REGISTRY", ""), help="oci://registry.example.com/charts ($CHART_REGISTRY)"
    )
    command.set_defaults(run=run_package)
    command = commands.add_parser("outputs", help="what was pushed, one name=value a line")
    command.set_defaults(run=run_outputs)


def say(text: str) -> int:
    print(text)
    return 0


def run_outputs(_: argparse.Namespace) -> int:
    return say("\n".join(f"{name}={value}" for name, value in outputs().items()))


def run_package(args: argparse.Namespace) -> int:
    archive, pushed = package(args.registry)
    return say(f"{pushed.repository}@{pushed.digest}" if pushed else str(archive.relative_to(ROOT)))
