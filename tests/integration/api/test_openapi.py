"""The schema is valid, and each of its examples works: what it shows is sent, and what it shows is answered."""

import pytest
from jsonschema import Draft202012Validator
from kg_service.api.application import create_app
from kg_service.config import load_settings
from nbclip.codec import MEDIA_TYPE
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient
from support.examples import PICTURES, Runner, make_data

JSON = "application/json"
RECORD = "record the answers: PYTHONPATH=tests python -m support.examples"


@pytest.fixture(scope="module")
def example_client(tmp_path_factory, vocabulary_folder):
    data = tmp_path_factory.mktemp("examples")
    make_data(data, vocabulary_folder)
    settings = load_settings(data=data, vocabulary=vocabulary_folder, images=PICTURES)
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="module")
def schema(example_client):
    return example_client.get("/openapi.json").json()


def faults(schema, described, value):
    return [f"{fault.json_path}: {fault.message}" for fault in validator(schema, described).iter_errors(value)]


def validator(schema, described):
    return Draft202012Validator({**described, "components": schema["components"]})


def test_it_is_valid_openapi(schema):
    OpenAPIV31SpecValidator(schema).validate()
    assert all(path.startswith("/v1/") for path in schema["paths"] if path not in {"/", "/livez", "/readyz", "/metrics", "/ui"})


def test_every_reference_leads_somewhere(schema):
    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    known = {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}
    assert set(references(schema)) <= known


def test_requests_are_strict_and_answers_are_tolerant(schema):
    schemas = schema["components"]["schemas"]
    for methods in schema["paths"].values():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
            if body:
                assert schemas[body["$ref"].rpartition("/")[2]]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["SnapshotOut"]


def test_every_example_is_answered_as_the_schema_says(example_client, schema):
    runner = Runner(example_client, schema)
    ran, unlike = set(), {}
    for operation, name, answer in runner.run():
        ran.add(operation["operationId"])
        declared = operation["responses"].get(str(answer.status_code), {})
        found = list(unlike_in(schema, declared, answer))
        if answer.status_code >= 300 or found:
            unlike[operation["operationId"], name] = (answer.status_code, found)
    assert unlike == {}
    assert ran == runner.operation_ids


def unlike_in(schema, declared, answer):
    """What of an answer is not as declared; an example that is shown must have the fields of the answer, and be valid too."""
    content = declared.get("content", {})
    if answer.status_code == 204:
        assert answer.content == b""
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in content:
        yield f"{media_type} is not declared"
    elif media_type == JSON:
        shown = content[JSON].get("example", {})
        yield from faults(schema, content[JSON]["schema"], answer.json())
        yield from faults(schema, content[JSON]["schema"], shown)
        if shown.keys() != answer.json().keys():
            yield f"the example has {sorted(shown)}, the answer {sorted(answer.json())}: {RECORD}"


def test_tensors_are_declared_where_they_are_answered(example_client, schema):
    accept = {"accept": MEDIA_TYPE}
    for path in ("/v1/targets", "/v1/representations"):
        operation = schema["paths"][path]["post"]
        for example in operation["requestBody"]["content"][JSON]["examples"].values():
            answer = example_client.post(path, json=example["value"], headers=accept)
            assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        assert MEDIA_TYPE in operation["responses"]["200"]["content"]


def test_answers_other_than_json_say_what_they_hold(schema):
    answers = {
        (path, form): (response["description"], described["schema"].get("description"))
        for path, methods in schema["paths"].items()
        for operation in methods.values()
        for form, described in operation["responses"].get("200", {}).get("content", {}).items()
        for response in [operation["responses"]["200"]]
        if form != JSON
    }
    assert {form for _, form in answers} == {MEDIA_TYPE, "text/plain", "text/html", "image/jpeg"}
    assert [place for place, (response, form) in answers.items() if form is None and response == "Successful Response"] == []
