"""A service that only reads: what it answers, what it refuses and who takes that, and that it leaves no trace."""

import os

import numba
import pytest
from kg_service.app.settings import check_settings
from kg_service.config import load_settings
from nbclip.errors import InvalidInput
from nbclip.schemas.service import Problem
from structlog.testing import capture_logs

WRITER = "https://kg.example.org"
ASKS = {"/v1/targets", "/v1/representations", "/v1/explain", "/v1/link"}
"""What is sent and stores nothing."""
OF_0_1_0 = ("POST /images", "POST /snapshots", "POST /jobs/ingest", "DELETE /jobs/x", "DELETE /images/effusion")


@pytest.fixture
def reading(service):
    return service(read_only=True, writer=WRITER)


def refused(answer):
    body = Problem.model_validate(answer.json())
    assert (answer.status_code, body.type) == (403, "urn:nbclip:problem:read-only"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return body


def writes(app):
    """Method and path of every route that is not for looking."""
    routes = [(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods]
    return [(method, path) for method, path in routes if method != "GET" and path not in ASKS]


def test_what_stores_publishes_or_removes_is_refused_and_the_writer_named(reading):
    found = writes(reading.app)
    assert len(found) >= 7
    for method, path in [*found, *(each.split() for each in OF_0_1_0)]:
        body = refused(reading.request(method, path, json={} if method == "POST" else None))
        assert WRITER in body.hint, path


def test_a_body_is_refused_before_it_is_read(reading):
    answer = reading.post("/v1/jobs/ingest", content=b"\x00" * (1 << 20), headers={"content-type": "text/nonsense"})
    assert refused(answer).title == "This service only serves snapshots"


@pytest.mark.parametrize("path", ["/v1/images", "/v1/images/effusion", "/v1/jobs", "/v1/jobs/x"])
def test_the_graph_and_the_jobs_are_the_writers_too(reading, path):
    refused(reading.get(path))


def test_without_an_address_the_setting_for_it_is_named(service):
    hint = refused(service(read_only=True).post("/v1/snapshots", json={})).hint
    assert hint.endswith("to have its address here, set KG_WRITER, such as KG_WRITER=https://kg.example.org")


def test_what_comes_from_a_snapshot_or_the_vocabulary_is_as_the_writer_answers_it(reading, reader):
    asked = [
        ("/v1/targets", {"image_ids": ["effusion", "effusion too", "fracture"]}),
        ("/v1/representations", {"image_ids": ["effusion"]}),
        ("/v1/explain", {"image_id": "effusion", "other_id": "effusion too"}),
        ("/v1/link", {"captions": ["Pleural effusion."]}),
    ]
    for path, body in asked:
        one, other = reading.post(path, json=body), reader.post(path, json=body)
        assert (one.status_code, one.content) == (200, other.content), path
    for path in ("/v1/snapshots", "/v1/images/effusion/neighbours", "/v1/concepts?q=effusion"):
        one, other = reading.get(path), reader.get(path)
        assert (one.status_code, one.content) == (200, other.content), path
    concept, same = reading.get("/v1/concepts/C0032227").json(), reader.get("/v1/concepts/C0032227").json()
    assert concept == {**same, "image_count": None}
    info, same = reading.get("/v1/info").json(), reader.get("/v1/info").json()
    assert info == {**same, "counts": {}}


def test_it_is_ready_once_it_has_targets_and_says_that_it_takes_no_captions(reading, problem):
    ready = reading.get("/readyz")
    can = ready.json()["can"]
    assert (ready.status_code, can["targets"], can["link"]) == (200, {"ready": True}, {"ready": True})
    assert "only serves published snapshots" in can["ingest"]["reason"]
    assert WRITER in can["ingest"]["hint"]
    assert reading.get("/readyz?for=targets").status_code == 200
    assert problem(reading.get("/readyz?for=ingest"), 503, "unavailable")["can"].keys() == {"ingest"}


def test_without_a_snapshot_it_is_not_ready(service, tmp_path, problem):
    empty = service(read_only=True, data=tmp_path / "none")
    for path in ("/readyz", "/readyz?for=targets"):
        assert problem(empty.get(path), 503, "unavailable")["detail"] == "not ready: snapshot"
    assert not (tmp_path / "none").exists()


def test_snapshots_are_enough(service, tmp_path, data):
    """Neither the licensed vocabulary nor the captions need to be where targets are served."""
    (tmp_path / "served").mkdir()
    (data / "snapshots").rename(tmp_path / "served" / "snapshots")
    nothing = tmp_path / "nothing"
    client = service(read_only=True, data=tmp_path / "served", vocabulary=nothing, writer=WRITER)
    info = client.get("/v1/info").json()
    assert (info["vocabulary"], info["linker"], len(info["snapshot"])) == ({}, "", 64)
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/targets", json={"image_ids": ["effusion"]}).status_code == 200
    for refusal in (client.post("/v1/link", json={"captions": ["x"]}), client.get("/v1/concepts?q=lung")):
        told = refused(refusal)
        assert "has no vocabulary" in told.detail
        assert WRITER in told.hint
    explained = client.post("/v1/explain", json={"image_id": "effusion", "other_id": "effusion too"})
    assert (explained.status_code, '"name":""' in explained.text) == (200, True), explained.text


def test_without_a_vocabulary_it_says_what_to_mount_and_not_to_wait(service, tmp_path, problem):
    answer = service(read_only=True, vocabulary=tmp_path / "words", writer=WRITER).get("/readyz?for=link")
    body = problem(answer, 503, "unavailable")
    assert "try again" not in body["title"]
    assert "retry-after" not in answer.headers
    mount = "mount the writer's words/ and words.names/ where KG_VOCABULARY says"
    assert body["hint"] == f"{mount}, or ask {WRITER}"
    (told,) = body["errors"]
    assert (told["where"], told["message"].count("has no vocabulary")) == ("vocabulary, linker", 1)
    assert (body["can"]["link"]["reason"].count("has no vocabulary"), body["can"]["link"]["hint"]) == (1, body["hint"])


def test_what_may_come_later_is_waited_for(service, tmp_path):
    answer = service(read_only=True, data=tmp_path / "none").get("/readyz?for=targets")
    assert ("try again" in answer.json()["title"], answer.headers["retry-after"]) == (True, "1")


def test_a_folder_that_is_not_there_is_refused_and_stays_so(tmp_path, command):
    code, _, said = command("serve", "--read-only", "--data", tmp_path / "mistyped", "--port", 0)
    assert (code, f"{tmp_path / 'mistyped'} is not there" in said, "--data" in said) == (2, True, True)
    assert not (tmp_path / "mistyped").exists()


def test_that_it_has_no_snapshot_yet_is_logged(service, tmp_path):
    (tmp_path / "mounted").mkdir()
    with capture_logs() as logged:
        service(read_only=True, data=tmp_path / "mounted")
    told = [each for each in logged if each["event"] == "no snapshot yet"]
    assert [each["folder"] for each in told] == [str(tmp_path / "mounted" / "snapshots")]


def test_keys_come_first(service, keys, problem):
    client = service(read_only=True)
    problem(client.post("/v1/snapshots", json={}), 401, "unauthorized")
    asked = {name: {"authorization": f"Bearer {secret}"} for name, secret in keys.items()}
    problem(client.post("/v1/snapshots", json={}, headers=asked["read"]), 403, "forbidden")
    problem(client.post("/v1/snapshots", json={}, headers=asked["admin"]), 403, "read-only")
    assert client.post("/v1/targets", json={"image_ids": ["effusion"]}, headers=asked["read"]).status_code == 200


@pytest.mark.parametrize("way", ["a request", "a request that appends", "a command"])
def test_what_another_publishes_is_served_at_once(service, data, command, vocabulary_folder, way):
    writer, reading = service(), service(read_only=True)
    before, asked = reading.get("/v1/info").json()["snapshot"], {"image_ids": ["new", "effusion"]}
    assert reading.post("/v1/targets", json=asked).status_code == 422
    writer.post("/v1/images", json={"items": [{"image_id": "new", "caption": "Pleural effusion.", "split": "train"}]})
    match way:
        case "a command":
            assert command("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder)[0] == 0
        case _:
            wanted = {"append": True} if "appends" in way else {}
            assert writer.post("/v1/snapshots", json=wanted, headers={"prefer": "wait=60"}).status_code == 201
    now, answer = reading.get("/v1/info").json()["snapshot"], reading.post("/v1/targets", json=asked)
    assert now == writer.get("/v1/info").json()["snapshot"] != before
    assert (answer.status_code, answer.content) == (200, writer.post("/v1/targets", json=asked).content)
    pinned = reading.post("/v1/targets", json={**asked, "image_ids": ["effusion"], "snapshot": before})
    assert (pinned.status_code, pinned.json()["snapshot"]) == (200, before)


def tree(folder):
    return {path.relative_to(folder): path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))}


def test_it_leaves_no_trace_and_removes_none_of_others(service, data):
    left = data / "snapshots" / ".kg-new.left"
    left.mkdir()
    before = tree(data)
    client = service(read_only=True)
    assert client.get("/readyz").status_code == 200
    assert client.post("/v1/targets", json={"image_ids": ["effusion"]}).status_code == 200
    assert client.post("/v1/images", json={"items": []}).status_code == 403
    assert tree(data) == before


def test_a_pointer_that_can_not_be_read_is_told(reading, data, problem):
    pointer = data / "snapshots" / "CURRENT"
    pointer.unlink()
    pointer.mkdir()
    body = problem(reading.get("/readyz?for=targets"), 503, "unavailable")
    assert "can't tell which snapshot is current: snapshots/CURRENT: Is a directory" in body["errors"][0]["message"]


def test_appending_by_itself_is_no_setting_of_it():
    with pytest.raises(InvalidInput, match=r"KG_APPEND_EVERY_S=5: .*KG_READ_ONLY"):
        check_settings(load_settings(read_only=True, append_every_s=5))


def test_the_command_has_it_as_an_option_and_fails_in_one_line(command, data, monkeypatch):
    monkeypatch.setenv("KG_APPEND_EVERY_S", "5")
    code, _, said = command("serve", "--read-only", "--data", data)
    assert (code, "KG_READ_ONLY appends nothing" in said) == (2, True)


def test_the_doctor_asks_for_nothing_that_it_does_not_need(command, data, vocabulary_folder, monkeypatch):
    monkeypatch.setenv("KG_READ_ONLY", "true")
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    (data / "graph.sqlite").unlink()
    code, out, _ = command("doctor", "--data", data, "--vocabulary", vocabulary_folder)
    assert (code, "next: kg-service serve" in out) == (0, True)
    assert "graph" not in out.partition("vocabulary")[0]


def test_without_a_place_for_compiled_kernels_it_ends_in_one_line(command, monkeypatch):
    def serve(args):
        space = {}
        exec(compile("def kernel(x):\n    return x\n", "<nowhere>", "exec"), space)
        numba.njit(cache=True)(space["kernel"])

    monkeypatch.setattr("kg_service.cli.main.app", serve)
    code, out, said = command("serve")
    assert (code, out) == (2, "")
    assert "compiled kernels can't be kept" in said
    assert "NUMBA_CACHE_DIR" in said
