"""`make licences`: the licence of everything in an image, against those that the project takes (licences.yaml)."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from license_expression import ExpressionError, Licensing  # type: ignore[import-untyped]

from delivery import sbom
from delivery.sbom import ECOSYSTEMS, Package
from toolkit.paths import ROOT, shown
from toolkit.process import Failure

POLICY = ROOT / "delivery" / "licences.yaml"
REPORT = sbom.REPORT / "licences.json"
GRAMMAR = Licensing()  # of whatever names: which are known is for the policy to say


@dataclass(frozen=True)
class Policy:
    """Licences taken, by the kind of package, and what is known of packages that do not say it themselves."""

    allowed: dict[str, frozenset[str]]
    stated: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Judgement:
    """A package, its licences, and those of them that are not taken; `known` is False where it states none."""

    package: Package
    licences: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def known(self) -> bool:
        return bool(self.licences)

    @property
    def passes(self) -> bool:
        return self.known and not self.refused


def policy(file: Path = POLICY) -> Policy:
    """Raises Failure."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        allowed = {kind: frozenset(map(str, names or [])) for kind, names in (content["allowed"] or {}).items()}
        stated = {name: _stated(name, entry, file) for name, entry in (content.get("stated") or {}).items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise Failure(f"{shown(file)} cannot be read as lists of licences, `allowed` and `stated`: {error}") from error
    return Policy(allowed, stated)


def _stated(name: str, entry: object, file: Path) -> tuple[str, ...]:
    if not isinstance(entry, dict) or not entry.get("reason"):
        raise Failure(f"{shown(file)}: {name} is stated without a reason: say where its licence is written.")
    licences = entry.get("licences")
    if not isinstance(licences, list) or not licences:
        raise Failure(f"{shown(file)}: {name} is stated without licences: write a list, as in [MIT].")
    return tuple(map(str, licences))


def judge(package: Package, rules: Policy) -> Judgement:
    """What is stated for a package overrules what it says of itself."""
    licences = rules.stated.get(f"{package.kind}:{package.name}", package.licences)
    allowed = rules.allowed.get(package.kind, frozenset())
    return Judgement(package, licences, tuple(each for each in licences if not taken(each, allowed)))


def taken(expression: str, allowed: frozenset[str]) -> bool:
    """Whether an SPDX expression (https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/) can be met
    with these licences: one of those that OR joins, and all that AND joins. A name that is none is taken as it is."""
    if expression in allowed:
        return True
    try:
        parsed = GRAMMAR.parse(expression)
    except ExpressionError:
        return False
    return parsed is not None and _met(parsed, allowed)


def _met(part: Any, allowed: frozenset[str]) -> bool:
    if isinstance(part, GRAMMAR.OR):
        return any(_met(each, allowed) for each in part.args)
    if isinstance(part, GRAMMAR.AND):
        return all(_met(each, allowed) for each in part.args)
    return part.render() in allowed


def report(image: str, judged: list[Judgement]) -> dict[str, Any]:
    """build/report/licences.json."""
    return {
        "image": image,
        "pass": all(each.passes for each in judged),
        "packages": [
            {
                "kind": each.package.kind,
                "name": each.package.name,
                "version": each.package.version,
                "licences": each.licences,
                "refused": each.refused,
            }
            for each in judged
        ],
    }


def refusals(judged: list[Judgement]) -> list[str]:
    """A sentence for each package that cannot stay as it is."""
    said = []
    for each in judged:
        what = f"{ECOSYSTEMS.get(each.package.kind, each.package.kind)} {each.package.name}"
        if not each.known:
            said.append(f"The {what} does not say its licence: state it in {shown(POLICY)}, and where it is written.")
        elif each.refused:
            said.append(
                f"The {what} has a licence that is not on the list, {', '.join(each.refused)}: do without the package, "
                f"or have the licence agreed on and added to {shown(POLICY)}."
            )
    return said


def examine(image: str, platform: str = "") -> list[Judgement]:
    """Every package of an image; writes build/report/licences.json. Raises Failure."""
    contents = sbom.read(sbom.write(image, platform=platform)["cyclonedx"])
    rules = policy()
    judged = [judge(package, rules) for package in contents.packages]
    REPORT.write_text(json.dumps(report(image, judged), indent=2) + "\n", encoding="utf-8")
    return judged


def run(args: argparse.Namespace) -> int:
    judged = examine(args.image, args.platform)
    if said := refusals(judged):
        raise Failure("\n".join(said))
    sys.stdout.write(f"{len(judged)} packages, and every licence is on the list: {shown(REPORT)}\n")
    return 0


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("licences", help="list the licences in an image; fails on one that is not taken")
    sbom.add_image(parser)
    parser.set_defaults(run=run)
