"""/readyz: which work can be taken, and why other work can't."""

import os
import sys
from contextlib import closing

import pytest
from kg_service.graph import open_store

CAPTIONS = {"items": [{"image_id": "first", "caption": "Chest X-ray showing a pleural effusion."}]}


def test_it_lists_what_it_can_do(reader):
    assert reader.get("/livez").json() == {"status": "ok"}
    ready = {"ready": True}
    assert reader.get("/readyz").json() == {"status": "ready", "can": {"ingest": ready, "link": ready, "targets": ready}}


def test_a_fresh_service_is_ready_for_the_captions_that_make_targets_possible(service, tmp_path, problem):
    client = service(data=tmp_path / "fresh")
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["can"]["ingest"] == {"ready": True}
    targets = ready.json()["can"]["targets"]
    assert (targets["ready"], targets["reason"]) == (False, "no snapshot is published")
    assert "kg-service snapshot publish, with --split train" in targets["hint"]
    (error,) = problem(client.get("/readyz?for=targets"), 503, "unavailable")["errors"]
    assert error["where"] == "snapshot"

    assert client.post("/v1/images", json=CAPTIONS).json()["counts"] == {"created": 1}
    assert client.post("/v1/snapshots", json={}, headers={"prefer": "wait=60"}).status_code == 201
    assert client.get("/readyz?for=targets").json() == {"status": "ready", "can": {"targets": {"ready": True}}}
    assert client.get("/readyz?for=targets&for=link").json()["can"].keys() == {"targets", "link"}


def test_it_lives_without_data_and_says_what_is_missing(service, problem, tmp_path):
    client = service(data=tmp_path / "nothing", vocabulary=tmp_path / "nothing" / "vocabulary")
    assert client.get("/livez").status_code == 200
    body = problem(client.get("/readyz"), 503, "unavailable")
    reasons = {each["where"]: each["message"] for each in body["errors"]}
    assert body["detail"] == "not ready: vocabulary, linker"
    assert reasons.keys() == {"vocabulary", "linker", "snapshot"}
    assert reasons["vocabulary"].startswith("no vocabulary: vocabulary/manifest.json is missing; build one: kg-service vocab")
    assert {name: each["ready"] for name, each in body["can"].items()} == dict.fromkeys(("ingest", "link", "targets"), False)
    assert "kg-service snapshot publish" in body["can"]["targets"]["hint"]


def test_a_refusal_says_what_can_be_done_all_the_same(client, data, problem):
    (data / "graph.sqlite").unlink()
    can = problem(client.get("/readyz"), 503, "unavailable")["can"]
    assert {name: each["ready"] for name, each in can.items()} == {"ingest": False, "link": True, "targets": True}
    assert "was removed" in can["ingest"]["reason"]
    asked = problem(client.get("/readyz?for=ingest&for=link"), 503, "unavailable")
    assert asked["can"].keys() == {"ingest", "link"}
    assert [each["where"] for each in asked["errors"]] == ["store"]


def test_a_data_folder_that_can_not_be_written_takes_ingest_with_it_and_no_targets(client, data, command, problem, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != data or not mode & os.W_OK)
    body = problem(client.get("/readyz"), 503, "unavailable")
    assert [each["where"] for each in body["errors"]] == ["data"]
    assert "allow the service to write there" in body["errors"][0]["message"]
    assert str(data) not in str(body)
    assert client.get("/readyz?for=targets&for=link").status_code == 200
    code, out, err = command("doctor", "--data", data)
    assert (code, err) == (1, "")
    assert f"✗ data: nothing can be stored: {data}: Permission denied" in out
    assert "next: allow the service to write there" in out


def test_it_becomes_ready_without_a_restart(service, vocabulary_folder, tmp_path):
    link = tmp_path / "vocabulary"
    client = service(vocabulary=link)
    assert client.get("/readyz").status_code == 503
    assert client.post("/link", json={"captions": ["x"]}).status_code == 503
    link.symlink_to(vocabulary_folder)
    assert client.get("/readyz").status_code == 200


def test_a_store_that_went_away_takes_ingest_with_it_and_no_targets(client, data, problem):
    (data / "graph.sqlite").unlink()
    (error,) = problem(client.get("/readyz"), 503, "unavailable")["errors"]
    assert error["where"] == "store"
    assert client.get("/readyz?for=ingest").status_code == 503
    assert client.get("/readyz?for=targets").status_code == 200
    assert client.post("/targets", json={"image_ids": ["effusion"]}).status_code == 200


def test_a_concept_is_shown_while_the_store_does_not_answer(service):
    concept = service(store="bolt://127.0.0.1:9", store_password="x").get("/v1/concepts/C0032227")
    assert (concept.status_code, concept.json()["image_count"], concept.json()["name"]) == (200, None, "Pleural Effusion")


def test_a_damaged_snapshot_takes_targets_alone(service, data):
    (folder,) = [path for path in (data / "snapshots").iterdir() if path.is_dir()]
    (folder / "graph.cuis.npy").unlink()
    client = service()
    can = client.get("/readyz").json()["can"]
    assert {name: each["ready"] for name, each in can.items()} == {"ingest": True, "link": True, "targets": False}
    assert "graph.cuis.npy is missing" in can["targets"]["reason"]
    assert str(data) not in can["targets"]["reason"]


def test_keys_that_can_not_be_read_take_all(service, keys, data, problem):
    client = service()
    (data / "keys.json").write_text("{")
    for path in ("/readyz", "/readyz?for=targets"):
        errors = problem(client.get(path), 503, "unavailable")["errors"]
        assert [each["where"] for each in errors] == ["keys"]


def test_upkeep_that_does_not_turn_is_told(client, problem):
    client.app.state.upkeep_failure = lambda: "no turn for 90 s"
    (error,) = problem(client.get("/readyz"), 503, "unavailable")["errors"]
    assert (error["where"], "no turn for 90 s" in error["message"]) == ("upkeep", True)
    assert client.get("/readyz?for=targets").status_code == 200


@pytest.mark.parametrize("wanted", ["for=dinner", "for=", "for=targets&for=dinner"])
def test_an_unknown_ability_is_refused(reader, problem, wanted):
    problem(reader.get(f"/readyz?{wanted}"), 422, "invalid-input")


def test_settings_that_are_wrong_are_no_fault_of_the_client(service, problem, tmp_path):
    client = service(linker_prior=tmp_path / "prior", linker="scispacy")
    problem(client.post("/v1/link", json={"captions": ["x"]}), 503, "unavailable")
    client = service(store="gopher://here")
    problem(client.get("/v1/images"), 503, "unavailable")


def test_a_missing_extra_is_no_mistake_of_the_client(service, problem, monkeypatch):
    monkeypatch.setitem(sys.modules, "scispacy.linking_utils", None)
    client = service(linker="scispacy")
    body = problem(client.post("/v1/link", json={"captions": ["x"]}), 501, "missing-extra")
    way_out = "take 3.11 or 3.12" if sys.version_info >= (3, 13) else "nbclip-kg-service[scispacy]"
    assert way_out in body["hint"]
    assert [each["where"] for each in problem(client.get("/readyz"), 503, "unavailable")["errors"]] == ["linker"]
    assert client.get("/readyz?for=targets").status_code == 200


def test_a_graph_without_an_image_is_a_state_and_not_a_mistake(service, tmp_path, problem):
    with closing(open_store(str(tmp_path / "graph.sqlite"))):
        pass
    client = service(data=tmp_path)
    problem(client.post("/snapshots", json={}), 409, "conflict")


def test_what_upkeep_fails_at_beside_jobs_is_said_and_takes_nothing_from_readiness(client):
    client.app.state.upkeep_trouble = lambda: "append: no room"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, "append: no room")
