"""OpenTelemetry's own variables: which of them work here, and the warnings about the others at the start.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import re
from collections.abc import Mapping, MutableMapping
from importlib.metadata import entry_points

PREFIX = "OTEL_"
PROPAGATORS = "OTEL_PROPAGATORS"
WORK = re.compile(
    r"OTEL_(SDK_DISABLED|SERVICE_NAME|RESOURCE_ATTRIBUTES|PROPAGATORS|TRACES_EXPORTER|TRACES_SAMPLER(_ARG)?"
    r"|BSP_\w+|(SPAN_|EVENT_|LINK_)?ATTRIBUTE_(COUNT|VALUE_LENGTH)_LIMIT|SPAN_(EVENT|LINK)_COUNT_LIMIT"
    r"|EXPORTER_OTLP_(TRACES_)?(ENDPOINT|PROTOCOL|HEADERS|TIMEOUT|COMPRESSION|CERTIFICATE|CLIENT_KEY"
    r"|CLIENT_CERTIFICATE))"
)
# With these values a variable asks for what the service does anyway.
HARMLESS = {
    "OTEL_TRACES_EXPORTER": ("otlp", "none"),
    "OTEL_METRICS_EXPORTER": ("none", "prometheus"),
    "OTEL_LOGS_EXPORTER": ("none",),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("http/protobuf",),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("http/protobuf",),
}
REASONS = (
    (re.compile(r"OTEL_(METRIC|EXPORTER_OTLP_METRIC|EXPORTER_PROM)\w*"), "metrics are Prometheus's, at /metrics"),
    (re.compile(r"OTEL_(LOGS|BLRP|LOGRECORD|EXPORTER_OTLP_LOGS)_\w*"), "logs go to standard output"),
    (re.compile(r"OTEL_TRACES_EXPORTER"), "traces are sent by OTLP, or with the value none not at all"),
    (re.compile(r"OTEL_EXPORTER_OTLP_(TRACES_)?PROTOCOL"), "traces are sent over HTTP, as http/protobuf"),
    (re.compile(r""), "it is not supported"),
)

left_out: list[str] = []
"""Propagators that OTEL_PROPAGATORS names and that are not installed."""


def traces_wanted(environ: Mapping[str, str]) -> bool:
    """Whether no variable switches tracing off."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() != "none"


def leave_out_unknown_propagators(environ: MutableMapping[str, str]) -> None:
    """Remove propagators that are not installed from OTEL_PROPAGATORS.

    Call this before the first import of opentelemetry, which would fail. OpenTelemetry's operator for Kubernetes sets
    the variable in every pod, whatever its image contains.
    """
    asked = [name.strip() for name in environ.get(PROPAGATORS, "").split(",") if name.strip()]
    if not asked:
        return
    known = {each.name for each in entry_points(group="opentelemetry_propagator")} | {"none"}
    left_out.extend(name for name in asked if name.lower() not in known)
    environ[PROPAGATORS] = ",".join(name for name in asked if name.lower() in known) or "none"


def without_effect(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that have no effect here, each with the reason."""
    found = {}
    for name in sorted(environ):
        value = environ[name].strip().lower()
        harmless = HARMLESS.get(name)
        if name.startswith(PREFIX) and value and (value not in harmless if harmless else not WORK.fullmatch(name)):
            found[name] = next(reason for pattern, reason in REASONS if pattern.match(name))
    if left_out:
        found[PROPAGATORS] = f"not installed: {', '.join(left_out)}"
    return found
