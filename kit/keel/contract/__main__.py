"""Command line: python -m keel.contract IMAGE [--values FILE] [--away NAME=VALUE] [--json FILE] [--junit FILE]."""

import argparse
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from keel.contract import points
from keel.contract.container import ContractError, Pod, in_bytes
from keel.contract.metric_profiles import chosen
from keel.contract.points import Result

NOT_KEPT, FAILED = 1, 2
SIGNS = {True: "yes", False: "NO", None: "-"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try an image; returns 0 if it keeps the contract, 1 if not, 2 if it could not be tried."""
    options = _parser().parse_args(arguments)
    results: list[Result] = []
    try:
        pod = _pod(options)
        for result in points.judge(pod, options.path, _variables(options.away)):
            results.append(result)
            sys.stdout.write(f"{SIGNS[result.kept]:>3}  {result.point}: {result.seen}\n")
            if result.kept is not True:
                sys.stdout.write(f"     {result.why}\n     -> {result.change}\n")
            sys.stdout.flush()
    except ContractError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    kept = sum(result.kept is True for result in results)
    sys.stdout.write(f"{kept} of {len(results)} points are kept by {pod.image}.\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n", encoding="utf-8")
    if options.junit:
        options.junit.write_bytes(_junit(results))
    return NOT_KEPT if any(result.kept is False for result in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keel.contract", description="Try an image against the chart's contract."
    )
    parser.add_argument("image", help="that Docker has or can pull")
    parser.add_argument("--path", default="/", help="of a read that answers at once (default: /)")
    parser.add_argument("--port", type=int, default=8000, help="ports.http of the chart (default: 8000)")
    parser.add_argument(
        "--management-port", type=int, default=9000, help="ports.management of the chart (default: 9000)"
    )
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="that it needs, besides the chart's"
    )
    parser.add_argument(
        "--away", action="append", default=[], metavar="NAME=VALUE", help="a dependency that leads nowhere"
    )
    parser.add_argument(
        "--values",
        type=Path,
        help="the chart's values: config, env, command, args, ports, probes, metrics, resources, drain",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="likewise, as JUnit's XML")
    return parser


def _pod(options: argparse.Namespace) -> Pod:
    pod = Pod(options.image, options.port, options.management_port, environment=_variables(options.env))
    return pod if options.values is None else _with_values(pod, options.values)


def _with_values(pod: Pod, file: Path) -> Pod:
    """What the chart makes of its values, as far as a container alone can have it."""
    try:
        import yaml  # noqa: PLC0415  # only this option needs it
    except ImportError as error:
        raise ContractError("--values needs PyYAML: install it, or use --env.") from error
    try:
        values: Any = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ContractError(f"{file} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ContractError(f"{file} holds no values: write them as YAML, by name.")
    ports, limits = _group(values, "ports"), _group(_group(values, "resources"), "limits")
    named = {each["name"]: str(each["value"]) for each in values.get("env") or [] if "value" in each}
    memory, tmp_size = limits.get("memory", pod.memory), _group(values, "tmp").get("sizeLimit", pod.tmp_size)
    try:
        profile, names = chosen(values)
        for size in (memory, tmp_size):
            in_bytes(str(size))
    except ValueError as error:
        raise ContractError(str(error)) from error
    return replace(
        pod,
        public=ports.get("http", pod.public),
        management=ports.get("management", pod.management) or ports.get("http", pod.public),
        startup=_path(values, "startup", pod.startup),
        readiness=_path(values, "readiness", pod.readiness),
        liveness=_path(values, "liveness", pod.liveness),
        metrics=_group(values, "serviceMonitor").get("path", pod.metrics),
        metric_profile=profile,
        metric_names=names,
        environment={
            **{key: str(value) for key, value in _group(values, "config").items()},
            **named,
            **pod.environment,
        },
        command=values.get("command") or (),
        arguments=values.get("args") or (),
        memory=str(memory),
        tmp_size=str(tmp_size),
        drain_seconds=_group(values, "drain").get("timeoutSeconds", pod.drain_seconds),
    )


def _group(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Values of one kind; none where they are missing, or null as Helm has it."""
    found: dict[str, Any] = values.get(name) or {}
    return found


def _path(values: dict[str, Any], probe: str, default: str) -> str:
    """What a probe asks for; nothing where it is a command, a call of gRPC's or a connection."""
    given = _group(_group(values, "probes"), probe)
    if any(given.get(way) is not None for way in ("exec", "grpc", "tcpSocket")):
        return ""
    path: str = (given.get("httpGet") or {}).get("path") or given.get("path", default)
    return path


def _variables(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (name, equals, _) in zip(texts, pairs, strict=True) if not (name and equals)]:
        raise ContractError(f"'{wrong[0]}' is no variable: write NAME=VALUE.")
    return {name: value for name, _, value in pairs}


def _junit(results: Sequence[Result]) -> bytes:
    """https://github.com/testmoapp/junitxml, which CI systems show."""
    suite = ET.Element("testsuite", name="contract", tests=str(len(results)))
    suite.set("failures", str(sum(result.kept is False for result in results)))
    suite.set("skipped", str(sum(result.kept is None for result in results)))
    for result in results:
        case = ET.SubElement(suite, "testcase", classname="contract", name=result.point)
        if result.kept is False:
            ET.SubElement(case, "failure", message=result.seen).text = f"{result.why} {result.change}"
        elif result.kept is None:
            ET.SubElement(case, "skipped", message=result.seen)
    written: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


if __name__ == "__main__":
    sys.exit(main())
