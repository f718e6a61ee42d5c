"""Requests that mean harm or are simply wrong: each is a problem with a status, none is a 500."""

import json
import threading

import pytest

POSTS = ["/images", "/link", "/targets", "/representations", "/explain", "/snapshots"]
JSON = {"content-type": "application/json"}


def send(client, path, body):
    return client.post(path, content=body, headers=JSON)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"NaN",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xed\xa0\x80"}',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"1" * 5_000,
        b"-1e999999999",
        b"{} {}",
        b'{"__proto__": {}, "constructor": 1}',
    ],
)
def test_what_is_no_body_is_refused(reader, problem, path, body):
    problem(send(reader, path, body), 422, "invalid-input")


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e400", '"\\ud83d"', "[]", "{}", '"x"', "-1" + "0" * 400])
@pytest.mark.parametrize(
    "field", ["temperature", "neighbour_mass", "effective_neighbours", "floor", "top_k", "snapshot", "dtype"]
)
def test_impossible_values_of_fields_are_refused(reader, problem, field, value):
    answer = send(reader, "/targets", f'{{"image_ids": ["effusion"], "{field}": {value}}}'.encode())
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "item",
    [
        {"image_id": "", "caption": "x"},
        {"image_id": "a\x00b", "caption": "x"},
        {"image_id": "a\nb", "caption": "x"},
        {"image_id": "é" * 257, "caption": "x"},
        {"image_id": 7, "caption": "x"},
        {"image_id": "a", "caption": None},
        {"image_id": "a", "caption": "x" * 20_001},
        {"image_id": "a", "caption": "x", "cuis": ["C1'; DROP TABLE image"]},
        {"image_id": "a", "caption": "x", "cuis": ["C0000001"] * 1_001},
        {"image_id": "a", "caption": "x", "extra": 1},
        {"image_id": "a"},
    ],
)
def test_an_item_that_can_not_be_stored_is_refused(reader, problem, item):
    problem(reader.post("/images", json={"items": [item]}), 422, "invalid-input")


@pytest.mark.parametrize("text", ["'; DROP TABLE image; --", "{{7*7}}", "${jndi:ldap://x}", "\u202ex", "../../etc/passwd"])
def test_hostile_text_is_text(client, text):
    item = {"image_id": text, "caption": text, "dataset": text, "split": text}
    assert client.post("/images", json={"items": [item]}).json()["counts"] == {"created": 1}
    (found,) = [each for each in client.get("/images").json()["images"] if each["image_id"] == text]
    assert found["caption"] == text
    assert client.post("/link", json={"captions": [text]}).status_code == 200
    assert client.get("/concepts", params={"q": text}).status_code == 200


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_the_limit_is_refused_with_and_without_content_length(service, problem, path):
    client = service(max_body_bytes=10_000)
    body = b'{"x": "' + b"a" * 20_000 + b'"}'
    for content in (body, iter([body[:9_000], body[9_000:]])):
        answer = send(client, path, content)
        assert "KG_MAX_BODY_BYTES=10000" in problem(answer, 413, "limit-exceeded")["hint"]
        assert answer.headers["connection"] == "close"
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "é"])
@pytest.mark.parametrize("path", POSTS)
def test_a_form_of_another_site_is_not_read(reader, problem, path, content_type):
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    problem(reader.post(path, content=b"{}", headers=headers), 415, "unsupported-media-type")


def test_json_with_a_charset_is_read(reader):
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert reader.post("/link", content=b'{"captions": ["x"]}', headers=headers).status_code == 200


@pytest.mark.parametrize(("path", "field"), [("/images", "items"), ("/link", "captions")])
def test_too_many_items_are_refused_before_they_are_looked_at(service, problem, path, field):
    client = service(max_items=3)
    refused = problem(client.post(path, json={field: [None] * 4}), 413, "limit-exceeded")
    assert refused["detail"].startswith("4")
    assert "KG_MAX_ITEMS=3" in refused["hint"]


def test_a_long_body_of_a_bulk_ingest_names_its_own_limit(service, problem):
    client = service(max_job_bytes=1_024)
    answer = client.post("/v1/jobs/ingest", content=b"x" * 2_000, headers={"content-type": "text/csv"})
    assert "KG_MAX_JOB_BYTES=1024" in problem(answer, 413, "limit-exceeded")["hint"]


def test_too_many_vectors_name_the_limit(service, problem):
    answer = service(max_columns=3).post("/v1/representations", json={"image_ids": ["a"] * 4})
    assert "KG_MAX_COLUMNS=3" in problem(answer, 413, "limit-exceeded")["hint"]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil@localhost", "", "localhost:x", "[::1", "é", "127.0.0.1,x"]
)
def test_another_host_is_refused(reader, problem, host):
    problem(reader.get("/livez", headers={"host": host.encode("latin-1")}), 400, "invalid-host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"])
def test_names_of_this_machine_are_served(reader, host):
    assert reader.get("/livez", headers={"host": host}).status_code == 200


def test_a_pattern_of_hosts_is_served(service):
    client = service(trusted_hosts="*.example.org, kg")
    for host, status in (("a.example.org", 200), ("kg:8080", 200), ("example.org", 400), ("localhost", 400)):
        assert client.get("/livez", headers={"host": host}).status_code == status
    assert service(trusted_hosts="*").get("/livez", headers={"host": "anything"}).status_code == 200


def test_work_over_the_limit_is_sent_away_at_once_and_probes_are_not(service, problem):
    client = service(max_concurrent=1)
    entered, release = threading.Event(), threading.Event()

    def slow_body():
        entered.set()
        release.wait(10)
        yield b'{"captions": ["x"]}'

    answers = []
    first = threading.Thread(target=lambda: answers.append(send(client, "/link", slow_body())))
    with client.app.state.places.take():
        refused = send(client, "/link", b'{"captions": ["x"]}')
        assert client.get("/readyz").status_code == 200
    problem(refused, 429, "busy")
    assert int(refused.headers["retry-after"]) >= 1
    first.start()
    assert entered.wait(10)
    release.set()
    first.join()
    assert answers[0].status_code == 200
    assert send(client, "/link", b'{"captions": ["x"]}').status_code == 200


def test_requests_that_wait_for_the_graph_leave_places_to_targets(service, problem):
    client = service(max_graph_requests=1)
    targets = b'{"image_ids": ["effusion", "fracture"]}'
    with client.app.state.graph_places.take():
        assert client.get("/concepts/C0032227").json()["image_count"] is None
        for path in ("/images", "/images/effusion"):
            problem(client.get(path), 429, "busy")
        assert send(client, "/targets", targets).status_code == 200
        assert client.get("/concepts", params={"q": "effusion"}).status_code == 200
    assert client.get("/images").status_code == 200


def test_places_come_back_after_every_kind_of_end(service):
    client = service(max_concurrent=1, max_graph_requests=1, max_body_bytes=10_000)
    for body in (b"{", b'{"captions": []}', b"x" * 20_000, b'{"captions": ["x"]}') * 3:
        assert send(client, "/link", body).status_code != 429
    for path in ("/images/none", "/concepts/x", "/snapshots/x", "/images"):
        assert client.get(path).status_code != 429


def test_cells_in_work_are_bounded_over_requests(service, problem):
    client = service(max_cells=16)
    body = json.dumps({"image_ids": [str(number) for number in range(4)], "on_unknown": "flag"}).encode()
    with client.app.state.cells.take(17):
        problem(send(client, "/targets", body), 429, "busy")
    assert send(client, "/targets", body).status_code == 200


@pytest.mark.parametrize(
    "path", ["/%2e%2e/%2e%2e/etc/passwd", "/images/%ff", "/concepts/%00", "/" + "a" * 60_000, "/images?cursor=%ff"]
)
def test_hostile_paths_are_refused(reader, path):
    answer = reader.get(path)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
