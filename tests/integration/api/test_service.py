"""Metrics, info, request ids, logs, and what an unexpected error becomes."""

import json

import pytest
from kg_service.api.application import create_app
from kg_service.app.logging import configure_logging
from kg_service.config import load_settings
from starlette.testclient import TestClient


def test_info_has_versions_limits_and_counts(reader):
    info = reader.get("/info").json()
    assert info["counts"]["images"] == 8
    assert info["limits"]["max_rows"] == 4096
    assert info["api"] == "v1"
    assert info["vocabulary"]["release"] == "open-umls-example-2"
    assert (info["store"], info["linker"]) == ("embedded", "dictionary-6")
    assert info["snapshot"] == reader.get("/snapshots").json()["snapshots"][0]["id"]


def test_metrics_count_by_route_and_status_never_by_path(client):
    client.get("/images/effusion")
    client.get("/images/secret-id")
    text = client.get("/metrics").text
    assert 'handler="/images/{image_id:path}",method="GET",status="200"' in text
    assert 'status="404"' in text
    assert "secret-id" not in text
    assert "process_resident_memory_bytes" in text


def test_two_services_in_one_process_count_apart(service, data, vocabulary_folder):
    first = service()
    first.get("/images/effusion")
    assert "/images/{image_id:path}" not in service().get("/metrics").text


def test_every_operation_of_the_schema_declares_its_problems(reader):
    schema = reader.get("/openapi.json").json()
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            problems = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert problems, (method, path)
            assert all(list(each["content"]) == ["application/problem+json"] for each in problems.values()), (method, path)
            if path not in ("/", "/livez", "/readyz", "/ui"):
                assert {"401", "403", "429"} <= problems.keys(), (method, path)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/concepts/", 404, "not-found"),
        ("PUT", "/images", 405, "method-not-allowed"),
        ("GET", "/targets", 405, "method-not-allowed"),
        ("OPTIONS", "/targets", 405, "method-not-allowed"),
        ("TRACE", "/livez", 405, "method-not-allowed"),
    ],
)
def test_an_unknown_route_or_method_is_a_problem_too(reader, problem, method, path, status, code):
    problem(reader.request(method, path), status, code)


def test_a_request_id_is_taken_up_or_made(reader):
    assert reader.get("/livez", headers={"x-request-id": "trace-1"}).headers["x-request-id"] == "trace-1"
    for given in ("a b", "x" * 65, "", "\x7f"):
        made = reader.get("/livez", headers={"x-request-id": given}).headers["x-request-id"]
        assert len(made) == 32


def test_one_line_a_request_with_the_route_and_never_the_id(reader, capsys):
    capsys.readouterr()
    reader.get("/images/effusion", headers={"x-request-id": "trace-2"})
    (line,) = capsys.readouterr().out.splitlines()
    assert "route=/images/{image_id:path}" in line
    assert "status=200" in line
    assert "request_id=trace-2" in line
    assert "key=local" in line
    assert "effusion" not in line


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_unexpected_error_tells_nothing_and_is_logged_without_values_under_the_request_id(data, problem, capsys, form):
    configure_logging(form)
    app = create_app(load_settings(data=data))

    @app.get("/broken")
    def broken() -> None:
        caption = "Mrs Jones" + ""  # noqa: F841
        raise RuntimeError("wheels came off")

    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/broken", headers={"x-request-id": "trace-3"})
        problem(answer, 500, "internal")
        assert "wheels" not in answer.text
        logged = capsys.readouterr().err
        assert "wheels came off" in logged
        assert "trace-3" in logged
        assert "Mrs Jones" not in logged.replace('caption = "Mrs Jones"', "")
        assert client.get("/livez").status_code == 200


def test_json_logs_are_one_object_a_line(data, capsys):
    configure_logging("json")
    with TestClient(create_app(load_settings(data=data)), base_url="http://localhost") as client:
        client.get("/images/effusion")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["route"] == "/images/{image_id:path}"
    assert {"method", "status", "ms", "request_id", "key", "level", "timestamp"} <= line.keys()
