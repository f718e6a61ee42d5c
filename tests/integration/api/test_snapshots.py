"""/snapshots: publish, list, manifest, image vectors."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
import structlog
from nbclip.codec import MEDIA_TYPE


def held(client):
    return [each["id"] for each in client.get("/snapshots").json()["snapshots"]]


def test_the_images_of_a_snapshot_come_page_by_page(reader, problem):
    path = f"/snapshots/{reader.get('/v1/info').json()['snapshot']}/images"
    whole = reader.get(path).json()
    assert (len(whole["image_ids"]), whole["next_cursor"]) == (8, None)
    found, cursor = [], ""
    while cursor is not None:
        page = reader.get(path, params={"limit": 3, "cursor": cursor}).json()
        found += page["image_ids"]
        cursor = page["next_cursor"]
    assert found == whole["image_ids"]
    assert reader.post("/targets", json={"image_ids": found}).status_code == 200
    problem(reader.get(path, params={"cursor": "eA=="}), 422, "invalid-input")
    problem(reader.get(f"/snapshots/{'0' * 64}/images"), 410, "gone")


def test_publishing_answers_201_with_location_and_the_same_graph_has_the_same_id(client):
    (old,) = held(client)
    answer = client.post("/snapshots", json={})
    assert answer.status_code == 201
    assert answer.json()["id"] == old
    assert client.get(answer.headers["location"]).json() == answer.json()
    assert answer.json()["manifest"]["images"] == 8


def test_a_split_is_frozen_alone_and_becomes_the_current_one(client):
    client.post("/images", json={"items": [{"image_id": "v", "caption": "Pneumonia.", "split": "valid"}]})
    made = client.post("/snapshots", json={"split": "valid"}).json()
    assert made["current"]
    assert made["manifest"]["images"] == 1
    listed = client.get("/snapshots").json()["snapshots"]
    assert [each["current"] for each in listed] == [True, False]
    assert listed[0]["id"] == made["id"]


def test_a_damaged_one_is_named_beside_the_others_and_logged_once(service, data, problem):
    (path,) = [path for path in (data / "snapshots").iterdir() if path.is_dir()]
    shutil.copytree(path, data / "snapshots" / ("0" * 64))
    client = service()
    with structlog.testing.capture_logs() as logged:
        listed = [client.get("/snapshots").json() for _ in range(2)]
    assert listed[0] == listed[1]
    assert [each["id"] for each in listed[0]["snapshots"]] == [path.name]
    assert listed[0]["damaged"] == ["0" * 64]
    assert [line["event"] for line in logged].count("damaged snapshot") == 1
    body = problem(client.get(f"/snapshots/{'0' * 64}"), 500, "broken-artefact")
    assert "snapshot prune" in body["hint"]
    assert client.get("/readyz").status_code == 200


def test_an_empty_part_of_the_graph_is_refused(client, problem):
    body = problem(client.post("/snapshots", json={"dataset": "nothing"}), 422, "invalid-input")
    assert "nothing" in body["detail"]


@pytest.mark.parametrize(("snapshot", "status", "code"), [("0" * 64, 410, "gone"), ("latest", 422, "invalid-id")])
@pytest.mark.parametrize("rest", ["", "/embeddings"])
def test_a_snapshot_that_is_not_there_is_said_so(client, problem, snapshot, status, code, rest):
    problem(client.get(f"/snapshots/{snapshot}{rest}"), status, code)


def test_embeddings_give_the_similarities_that_targets_gives(client):
    (snapshot,) = held(client)
    answer = client.get(f"/snapshots/{snapshot}/embeddings", params={"knowledge": "dk"})
    assert answer.headers["content-type"] == MEDIA_TYPE
    tensors = safetensors.numpy.load(answer.content)
    offsets = tensors["id_offsets"]
    ids = [tensors["id_bytes"][start:end].tobytes().decode() for start, end in pairwise(offsets)]
    dense = tensors["dense"]
    pointers = tensors["sparse_indptr"]
    sparse = np.zeros((len(ids), int(tensors["sparse_indices"].max()) + 1), np.float32)
    for row, (start, end) in enumerate(pairwise(pointers)):
        sparse[row, tensors["sparse_indices"][start:end]] = tensors["sparse_data"][start:end]
    expected = sparse @ sparse.T + dense @ dense.T
    np.fill_diagonal(expected, 1)
    asked = {"image_ids": ids, "output": "similarity", "knowledge": "dk"}
    np.testing.assert_allclose(client.post("/targets", json=asked).json()["values"], expected, atol=1e-5)


def test_embeddings_lie_where_readers_can_look_at_them_and_tell_their_split(client):
    """Ids of any number of bytes come before nothing that is wider; what was published whole has no split."""
    for number in range(4):
        client.post("/images", json={"items": [{"image_id": f"v{'x' * number}", "caption": "Pneumonia.", "split": "valid"}]})
        snapshot = client.post("/snapshots", json={"split": "valid"}).json()["id"]
        body = client.get(f"/snapshots/{snapshot}/embeddings").content
        end = 8 + int.from_bytes(body[:8], "little")
        header = json.loads(body[8:end])
        assert header.pop("__metadata__")["split"] == "valid"
        widths = {"U8": 1, "I32": 4, "F32": 4, "I64": 8}
        assert [name for name, one in header.items() if (end + one["data_offsets"][0]) % widths[one["dtype"]]] == []
    whole = client.post("/snapshots", json={}).json()["id"]
    body = client.get(f"/snapshots/{whole}/embeddings").content
    assert "split" not in json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])["__metadata__"]


def test_embeddings_that_the_client_has_are_not_sent_again(client):
    path = f"/snapshots/{held(client)[0]}/embeddings"
    first = client.get(path)
    again = client.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, params={"knowledge": "dk"}, headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_a_snapshot_published_by_the_command_is_served_without_a_restart(client, command, data, vocabulary_folder):
    client.post("/images", json={"items": [{"image_id": "later", "caption": "Pneumonia."}]})
    code, out, _ = command("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder)
    assert code == 0
    assert held(client)[0] == out.strip()
    assert client.post("/targets", json={"image_ids": ["later"]}).json()["snapshot"] == out.strip()


NEW = [
    {"image_id": "later", "caption": "Chest X-ray showing a pleural effusion.", "split": "train"},
    {"image_id": "unheard of", "caption": "zzz.", "split": "train"},
]


def test_new_images_are_appended_and_a_pinned_snapshot_stays(service):
    client = service(compact_after=0)
    (old,) = held(client)
    client.post("/images", json={"items": NEW})
    client.post("/images", json={"items": [{"image_id": "fracture", "caption": "Pneumonia."}], "on_conflict": "replace"})
    client.delete("/images/empty")
    made = client.post("/snapshots", json={"append": True})
    assert made.status_code == 201
    body = made.json()
    assert (body["current"], body["manifest"]["images"], body["manifest"]["appended"]["base"]) == (True, 10, old)
    left = {"concepts_left_out": 0, "replaced": 1, "deleted": 1, "elsewhere": 0, "by_concepts": []}
    assert body["append"] == {"appended": 2, "without_vector": 1, **left}
    ids = ["effusion", "later", "unheard of", "fracture"]
    asked = {"image_ids": ids, "output": "similarity"}
    matrix = client.post("/targets", json=asked).json()
    assert matrix["snapshot"] == body["id"]
    assert matrix["values"][0][1] == pytest.approx(1, abs=1e-6)
    assert matrix["has_knowledge"] == [True, True, False, True]
    pinned = client.post("/targets", json={**asked, "snapshot": old, "on_unknown": "flag"}).json()
    assert pinned["unknown"] == [False, True, True, False]
    neighbours = client.get("/images/effusion/neighbours").json()["neighbours"]
    assert (neighbours[0]["image_id"], neighbours[0]["same_caption"]) == ("later", True)
    assert client.post("/explain", json={"image_id": "later", "other_id": "effusion"}).json()["similarity"] == pytest.approx(1)
    again = client.post("/snapshots", json={"append": True}).json()
    assert (again["id"], again["append"]["appended"]) == (body["id"], 0)
    assert client.get(f"/snapshots/{old}").json()["manifest"]["appended"] is None


def test_an_append_takes_no_other_part_of_the_graph(client, problem):
    body = problem(client.post("/snapshots", json={"append": True, "split": "valid"}), 422, "invalid-input")
    assert "publish" in body["detail"]


def test_an_append_keeps_to_the_split_of_the_snapshot(service):
    client = service(compact_after=0)
    client.post("/snapshots", json={"split": "train"})
    client.post("/images", json={"items": [NEW[0], {**NEW[0], "image_id": "other", "split": "valid"}]})
    body = client.post("/snapshots", json={"append": True}).json()
    assert (body["append"]["appended"], body["manifest"]["split"]) == (1, "train")
    assert client.post("/snapshots", json={"append": True}).json()["append"]["elsewhere"] == 1


def test_where_new_images_are_of_no_split_the_command_says_so(service, command, data):
    client = service(compact_after=0)
    client.post("/snapshots", json={"split": "train"})
    assert "images of the graph" not in command("snapshot", "append", "--data", data)[2]
    client.delete("/images/empty")
    client.post("/images", json={"items": [{"image_id": image_id, "caption": "Pneumonia."} for image_id in "xyz"]})
    for _ in range(2):
        code, _, err = command("snapshot", "append", "--data", data)
        assert code == 0
        assert "nothing new of split=train; the snapshot is unchanged" in err
        assert "3 images of the graph are not of split=train" in err
    client.delete("/images/effusion")
    assert "to pick them up: kg-service snapshot publish --split train\n" in command("snapshot", "append", "--data", data)[2]


def test_the_command_appends_and_says_what_it_left(service, command, data):
    client = service(compact_after=0)
    client.post("/images", json={"items": NEW})
    client.delete("/images/empty")
    code, out, err = command("snapshot", "append", "--data", data)
    assert (code, held(client)[0]) == (0, out.strip())
    assert "2 images appended, 1 of them without a concept" in err
    assert "0 replaced, 1 deleted since; to pick them up" in err
    code, again, err = command("snapshot", "append", "--data", data)
    assert (code, again) == (0, out)
    assert "nothing new" in err
    code, listed, _ = command("snapshot", "list", "--data", data)
    assert listed.splitlines()[0].endswith("appended=2 current")
    code, _, _ = command("snapshot", "verify", "--data", data)
    assert code == 0
    code, out, _ = command("doctor", "--data", data)
    assert "10 images (2 appended)" in out


def test_one_that_nothing_needs_is_deleted(service, data, problem):
    client = service(compact_after=0)
    (base,) = held(client)
    client.post("/images", json={"items": NEW[:1]})
    appended = client.post("/snapshots", json={"append": True}).json()["id"]
    assert appended in problem(client.delete(f"/v1/snapshots/{appended}"), 409, "conflict")["detail"]
    assert appended in problem(client.delete(f"/v1/snapshots/{base}"), 409, "conflict")["detail"]
    assert len(held(client)) == 2
    anew = client.post("/snapshots", json={}).json()["id"]
    problem(client.delete(f"/v1/snapshots/{base}"), 409, "conflict")
    for each in (appended, base):
        assert client.delete(f"/v1/snapshots/{each}").status_code == 204
    assert held(client) == [anew]
    problem(client.delete(f"/v1/snapshots/{base}"), 410, "gone")
    problem(client.delete("/v1/snapshots/latest"), 422, "invalid-id")
    assert sorted(path.name for path in (data / "snapshots").iterdir()) == sorted([".lock", "CURRENT", anew])


def test_a_damaged_snapshot_is_not_served(service, data, problem):
    (folder,) = [path for path in (data / "snapshots").iterdir() if path.is_dir()]
    file = folder / "graph.cuis.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    client = service()
    assert client.get("/readyz?for=targets").status_code == 503
    problem(client.post("/targets", json={"image_ids": ["effusion"]}), 500, "broken-artefact")


def test_a_disk_without_room_refuses_a_publication_and_keeps_what_was_published(client, data, monkeypatch, problem):
    before = sorted(path.name for path in (data / "snapshots").iterdir())
    client.delete("/images/fracture")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    body = problem(client.post("/snapshots", json={}), 503, "unavailable")
    monkeypatch.undo()
    assert body["detail"] == "the snapshot can't be written: No space left on device"
    assert sorted(path.name for path in (data / "snapshots").iterdir()) == before
    assert client.post("/targets", json={"image_ids": ["fracture"]}).status_code == 200
