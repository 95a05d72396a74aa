"""Our log lines in a real VictoriaLogs: by each way that docs/logs.md names, and by the query of the panel."""

import json
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from grafana import queries
from grafana.queries import Json
from tests.grafana.conftest import DASHBOARDS, LINKS, POD
from tests.grafana.victorialogs import VictoriaLogs
from tests.support.processes import App, until

# What docs/logs.md has a shipper say, for the fields that VictoriaLogs has of its own.
FIELDS = {"_msg_field": "message", "_time_field": "@timestamp", "_stream_fields": "service.name"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaLogs]:
    store = VictoriaLogs(tmp_path_factory.mktemp("victorialogs"))
    yield store
    store.stop()


@pytest.fixture
def line(service: App) -> Json:
    """What the service says of a request that begins with a trace."""
    trace, request = secrets.token_hex(16), secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-ID": request}
    assert httpx.get(f"http://{service.public}/not-there", headers=headers).status_code == 404

    def said() -> list[Json]:
        return [each for each in list(service.log) if each.get("trace.id") == trace]

    until(lambda: bool(said()))
    found = said()[0]
    assert found["http.request.id"] == request
    return found


@pytest.mark.parametrize("field", ["trace.id", "http.request.id"])
def test_a_line_that_came_by_elasticsearchs_bulk_is_found_by_its_field(
    store: VictoriaLogs, line: Json, field: str
) -> None:
    body = f'{{"create":{{}}}}\n{json.dumps(line)}\n'.encode()
    answer = store.send("/insert/elasticsearch/_bulk", body, "application/x-ndjson", **FIELDS)
    assert answer.json()["errors"] is False
    (entry,) = store.find(f'{field}:="{line[field]}"')
    assert entry["_msg"] == line["message"]
    names = line.keys() - {"message", "@timestamp"}
    assert {name: entry.get(name) for name in names} == {name: text(line[name]) for name in names}
    assert entry["_stream"] == f'{{service.name="{line["service.name"]}"}}'
    assert store.find(f'{field}:="{secrets.token_hex(16)}"') == []


def test_a_line_that_came_by_syslog_is_found_by_its_field(store: VictoriaLogs, line: Json) -> None:
    """There it is the message, of which a query makes fields."""
    now = datetime.now(UTC).isoformat()
    with socket.create_connection(("127.0.0.1", store.syslog_port), timeout=30) as connection:
        connection.sendall(f"<134>1 {now} node links 1 - - {json.dumps(line)}\n".encode())
    query = f'app_name:="links" | unpack_json | filter trace.id:="{line["trace.id"]}"'
    until(lambda: len(store.find(query)) == 1)


def test_a_line_that_came_by_otlp_is_found_by_its_trace(store: VictoriaLogs, line: Json) -> None:
    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.time_unix_nano, record.trace_id = time.time_ns(), bytes.fromhex(line["trace.id"])
    record.body.string_value = line["message"]
    store.send("/insert/opentelemetry/v1/logs", request.SerializeToString(), "application/x-protobuf")
    (entry,) = store.find(f'trace_id:="{line["trace.id"]}"')
    assert entry["_msg"] == line["message"]


def test_the_panel_finds_the_lines_of_one_request_of_the_service_alone(store: VictoriaLogs, line: Json) -> None:
    """Sent with the names that vlagent gives what it knows of a pod."""
    pods = {POD: line, "links-migrations-x2k4q": {"message": "plain"}, POD.replace("links-", "links-2-"): line}
    for pod, said in pods.items():
        entry = {**said, "@timestamp": line["@timestamp"]}
        entry |= {"kubernetes.pod_namespace": "links", "kubernetes.pod_name": pod}
        streams = FIELDS | {"_stream_fields": "kubernetes.pod_namespace,kubernetes.pod_name"}
        store.send("/insert/jsonline", json.dumps(entry).encode(), "application/stream+json", **streams)
    access = f"{line['log.level']} {line['message']}"
    assert sorted(each["_msg"].strip() for each in store.find(panel(""))) == sorted([access, "plain"])
    for identity in (line["http.request.id"], line["trace.id"][4:20]):
        (found,) = store.find(panel(identity))
        assert (found["_msg"].strip(), found["kubernetes.pod_name"]) == (access, POD)
    assert store.find(panel(secrets.token_hex(16))) == []


def panel(identity: str) -> str:
    """The query of the panel for what a person looks for."""
    variables = {**LINKS, "request_id": identity}
    asked = [query for dashboard in DASHBOARDS for query in queries.queries(dashboard, variables)]
    (found,) = [query for query in asked if query.source == queries.VICTORIALOGS]
    return found.expression


def text(value: object) -> str:
    """As VictoriaLogs keeps what was no text."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
