#!/usr/bin/env bash
# OpenTelemetry's OTLP exporter over HTTP calls an export successful that the collector redirects or rejects.
#
# Versions:  opentelemetry-exporter-otlp-proto-http 1.45.2 with requests 2.34.2, seen with Python 3.11.
# Input:     a batch of one span, for a collector that answers 308 with a Location, or 200 with the body
#            ExportTraceServiceResponse{partial_success{rejected_spans: 1, error_message: "over the limit"}}.
# Expected:  of a redirect that it is followed, or a failure: nobody has taken the span. Of the second answer a word, as
#            the protocol has rejected_spans and error_message so that somebody learns of it.
# Seen:      SpanExportResult.SUCCESS for both, one request each, and no line in the log. The exporter has redirects not
#            followed, takes each status below 400 for success, and does not read the body. 400 is a failure, and logged.
# Here:      kit/keel/observability/span_losses.py reads the answers, logs and counts.
#
# Needs Python 3.11 to 3.13 (PYTHON=python3.12 names one) and a package index.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
# The wheels for any platform: protobuf and charset-normalizer without their compiled parts.
cat > lock.txt <<'END'
certifi==2026.10.18 --hash=sha256:73191c47aaa79da394e8fee2dbc2ec827432cab56311122c9e47abf79e390f62
charset-normalizer==3.5.2 --hash=sha256:b6b751274acb69d77b3323d6b7dbaa3c7fdfc1eb829b7eb61d262f32e1af9685
googleapis-common-protos==1.76.0 --hash=sha256:59e13344a9f3651aa201a03e2bee815a3bf43a4baf1f9ff8a9b62a840ce25fac
idna==3.20 --hash=sha256:ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c
opentelemetry-api==1.45.2 --hash=sha256:2cbd737377e710ee740d261c94e93fa0f08e6d037c18f17513cc0a2d94479a34
opentelemetry-exporter-http-transport==0.66b2 --hash=sha256:fd5f5b490c099acda1cd7b909d5e8981436bf18cc8c6098d302d114c271720e9
opentelemetry-exporter-otlp-common==0.66b2 --hash=sha256:ace86efb75489f925f1ef809856ae5f0c7db534e4afdc624530222228b1236a5
opentelemetry-exporter-otlp-proto-common==1.45.2 --hash=sha256:af483b24217028892f017096731b794b196b785025d2e6808874720fd0b05a80
opentelemetry-exporter-otlp-proto-http==1.45.2 --hash=sha256:6e4d025138829d0ee57946930c2ccad6491ad4d92a958e9c7eea69278fe60cfc
opentelemetry-proto==1.45.2 --hash=sha256:03a7ca1b43f89fd5b965d5975902bb2515c0c86e2428b456836e9a6149c6235a
opentelemetry-sdk==1.45.2 --hash=sha256:ff974ea70ee4f1d51e2ec152db37c2b626c7bf82bb3f7d86114fd8704e7199c6
opentelemetry-semantic-conventions==0.66b2 --hash=sha256:4cbe61e5f9275d57ab31708446e7938ef4291ebbe6a7fca6f7a629c5acae87d8
protobuf==7.36.2 --hash=sha256:bdb3a345d48db958e6ce1f18e508beb0cc981d64f24088427549c866cd039f1e
requests==2.34.2 --hash=sha256:2a0d60c172f83ac6ab31e4554906c0f3b3588d37b5cb939b1c061f4907e278e0
typing-extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
urllib3==2.8.0 --hash=sha256:0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > export.py <<'END'
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTracePartialSuccess, ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider

PARTIAL = ExportTracePartialSuccess(rejected_spans=1, error_message="over the limit")
ANSWERS = {
    "/takes": (200, {}, b""),
    "/redirects": (308, {"Location": "/takes"}, b""),
    "/rejects": (200, {}, ExportTraceServiceResponse(partial_success=PARTIAL).SerializeToString()),
    "/refuses": (400, {}, b""),
}
asked, said = [], []


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        asked.append(self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = ANSWERS[self.path]
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/x-protobuf", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Said(logging.Handler):
    def emit(self, record):
        said.append(record.levelname)


logging.getLogger().addHandler(Said())
server = HTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
span = TracerProvider().get_tracer("any").start_span("any")
span.end()
seen = {}
for path in ANSWERS:
    asked.clear()
    said.clear()
    result = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.server_port}{path}").export([span])
    seen[path] = (result.name, list(asked), list(said))
name = "opentelemetry-exporter-otlp-proto-http"
print(f"Python {sys.version.split()[0]}, {name} {version(name)}, requests {version('requests')}")
for path, (result, requests, lines) in seen.items():
    print(f"{path}: {result}, requests: {', '.join(requests)}, log: {', '.join(lines) or 'nothing'}")
described = {path: ("SUCCESS", [path], []) for path in ("/takes", "/redirects", "/rejects")}
sys.exit(seen != {**described, "/refuses": ("FAILURE", ["/refuses"], ["ERROR"])})
END
if timeout 60 venv/bin/python export.py; then
    echo "As described."
else
    echo "Not as described: the exporter behaves differently now."
    exit 1
fi
