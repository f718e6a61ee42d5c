"""Spans of a running service, as a receiver of OTLP gets them over HTTP; the client's trace goes on in them."""

from __future__ import annotations

import contextlib
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from kg_service.app.keys import add_key
from kg_service.tracing import traced
from nbclip.client import Service as Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import format_span_id, format_trace_id
from support.service import Service
from support.tcp import free_port
from support.waiting import eventually

ITEM = {"image_id": "told-1", "caption": "Pleural effusion of Jane Roe."}
PRIVATE = ("told-1", "Jane", "effusion", "femur", "nbkg_")


class Receiver:
    """Takes traces as a collector does; `bodies` are the protobufs."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    bodies.append(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def resources(self):
        return [each for body in self.bodies for each in ExportTraceServiceRequest.FromString(body).resource_spans]

    def spans(self):
        return [span for each in self.resources() for scope in each.scope_spans for span in scope.spans]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def told(tmp_path_factory, published, vocabulary_folder):
    """What a receiver got of one request of each kind; and of the client's the ids of its trace and span."""
    folder = tmp_path_factory.mktemp("traced")
    shutil.copytree(published, folder / "data")
    key = add_key(folder / "keys.json", "all", ["admin"])
    with contextlib.closing(Receiver()) as receiver:
        settings = {
            "KG_VOCABULARY": str(vocabulary_folder),
            "KG_KEYS_FILE": str(folder / "keys.json"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        with contextlib.closing(Service(folder / "data", settings, port=free_port())) as service:
            ids = follow(service.url, key)
            ask(service.client, {"authorization": f"Bearer {key}"})
            eventually(lambda: sum(span.name.startswith(("GET", "POST", "DELETE")) for span in receiver.spans()) >= 9, 20)
        yield receiver, ids


def follow(url, key):
    with (
        TracerProvider(shutdown_on_exit=False).get_tracer("test").start_as_current_span("step") as step,
        Client(url, key=key) as client,
    ):
        client.targets(["effusion", "pneumonia"])
        context = step.get_span_context()
    return format_trace_id(context.trace_id), format_span_id(context.span_id)


def ask(client, headers):
    assert client.post("/v1/images", json={"items": [ITEM]}, headers=headers).status_code == 200
    assert client.post("/v1/link", json={"captions": ["Femur fracture of Jane Roe."]}, headers=headers).status_code == 200
    assert client.get("/v1/images", params={"q": "femur"}, headers=headers).status_code == 200
    assert client.get("/v1/images/told-1", headers=headers).status_code == 200
    assert client.post("/v1/targets", json={"image_ids": ["told-1"]}, headers=headers).status_code == 422
    assert client.get("/v1/nowhere/told-1", headers=headers).status_code == 404
    assert client.get("/readyz").status_code == 200


def test_the_clients_trace_goes_on_in_the_service_and_its_stages(told):
    receiver, (trace, step) = told
    mine = [span for span in receiver.spans() if span.trace_id.hex() == trace]
    (request,) = (span for span in mine if span.name == "POST /targets")
    assert request.parent_span_id.hex() == step
    stages = {span.name for span in mine if span.parent_span_id == request.span_id}
    assert stages == {"read snapshot", "build targets"}
    attributes = {each.key: each.value for each in request.attributes}
    assert (attributes["http.route"].string_value, attributes["http.response.status_code"].int_value) == ("/targets", 200)


def test_linking_and_storing_are_stages_of_their_request(told):
    receiver, _ = told
    spans = receiver.spans()
    (images,) = (span for span in spans if span.name == "POST /images")
    stages = [span for span in spans if span.parent_span_id == images.span_id]
    assert [span.name for span in sorted(stages, key=lambda span: span.start_time_unix_nano)] == ["link", "store"]
    assert all(
        images.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano <= images.end_time_unix_nano
        for span in stages
    )


def test_no_id_caption_or_key_is_told(told):
    receiver, _ = told
    assert len(receiver.spans()) >= 12
    for body in receiver.bodies:
        assert not [word for word in PRIVATE if word.encode() in body]


def test_probes_are_not_traced_and_the_service_has_a_name(told):
    receiver, _ = told
    assert not any("readyz" in span.name for span in receiver.spans())
    names = {
        each.value.string_value
        for found in receiver.resources()
        for each in found.resource.attributes
        if each.key == "service.name"
    }
    assert names == {"kg-service"}


def test_without_a_span_the_client_sends_no_trace(monkeypatch):
    seen = []

    def answer(request):
        seen.append(request.headers)
        return httpx2.Response(200, json={"version": "0.1.0", "snapshot": None})

    real = httpx2.Client
    monkeypatch.setattr(
        "nbclip.connection.httpx2.Client", lambda **options: real(**options, transport=httpx2.MockTransport(answer))
    )
    with Client("http://localhost"):
        pass
    assert seen
    assert not any("traceparent" in headers for headers in seen)


@pytest.mark.parametrize("off", [{}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_nothing_is_imported_or_warned_of_where_it_is_off(monkeypatch, capsys, off):
    for name, value in off.items():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with traced():
        pass
    assert capsys.readouterr().out == ""


def test_an_endpoint_without_the_extra_is_warned_of(monkeypatch, capsys):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with traced():
        pass
    assert "nbclip-kg-service[telemetry]" in capsys.readouterr().out
