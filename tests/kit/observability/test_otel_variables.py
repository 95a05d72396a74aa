import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keel.observability import otel_variables
from tests.kit.subject import SERVICE
from tests.support.processes import App


@pytest.fixture(autouse=True)
def none_left_out() -> Iterator[None]:
    otel_variables.left_out.clear()
    yield
    otel_variables.left_out.clear()


@pytest.mark.parametrize(
    ("asked", "kept", "left_out"),
    [
        ("tracecontext,baggage,b3", "tracecontext,baggage", ["b3"]),
        ("b3 , jaeger", "none", ["b3", "jaeger"]),
        ("tracecontext", "tracecontext", []),
        ("none", "none", []),
        ("", "", []),
    ],
)
def test_propagators_that_are_not_installed_are_left_out(asked: str, kept: str, left_out: list[str]) -> None:
    environ = {"OTEL_PROPAGATORS": asked}
    otel_variables.leave_out_unknown_propagators(environ)
    assert environ == {"OTEL_PROPAGATORS": kept}
    assert otel_variables.left_out == left_out


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "over HTTP"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", None),
        ("OTEL_TRACES_EXPORTER", "zipkin", "by OTLP"),
        ("OTEL_TRACES_EXPORTER", "none", None),
        ("OTEL_METRICS_EXPORTER", "otlp", "Prometheus's"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1000", "Prometheus's"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://collector:4318", "Prometheus's"),
        ("OTEL_LOGS_EXPORTER", "none", None),
        ("OTEL_LOGS_EXPORTER", "console", "standard output"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://collector:4318", "standard output"),
        ("OTEL_CONFIG_FILE", "otel.yaml", "not supported"),
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://zipkin", "not supported"),
        ("OTEL_CONFIG_FILE", "", None),
        ("OTEL_BSP_SCHEDULE_DELAY", "50", None),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", "/a.crt", None),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "5", None),
        ("PATH", "/bin", None),
    ],
)
def test_what_has_no_effect_is_named(name: str, value: str, reason: str | None) -> None:
    found = otel_variables.without_effect({name: value})
    assert list(found) == ([name] if reason else [])
    assert (reason or "") in found.get(name, "")


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [({}, True), ({"OTEL_SDK_DISABLED": "TRUE"}, False), ({"OTEL_TRACES_EXPORTER": "none"}, False)],
)
def test_traces_can_be_switched_off(environ: dict[str, str], wanted: bool) -> None:
    assert otel_variables.traces_wanted(environ) is wanted


def test_it_starts_with_what_an_operator_injects(tmp_path: Path) -> None:
    """The OpenTelemetry Operator's defaults; without b3 installed, opentelemetry-api 1.45 fails at its import."""
    app = App(SERVICE, tmp_path, OTEL_PROPAGATORS="tracecontext,baggage,b3", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    app.process.send_signal(signal.SIGTERM)
    assert app.end()[0] == 0
    warned = {line["labels.name"] for line in app.log if line["message"] == "variable without effect"}
    assert warned == {"OTEL_PROPAGATORS", "OTEL_EXPORTER_OTLP_PROTOCOL"}


def test_the_commands_do_too(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), "OTEL_PROPAGATORS": "b3multi"}
    command = [sys.executable, "-m", "tests.probe", "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert json.loads(done.stdout)["APP_ENVIRONMENT"] == "local"
