"""A byte of the current snapshot is flipped on the disk: the former one is served, and it is said."""

import os
import threading

import pytest
from kg_service.snapshot import SnapshotFolder, verification
from nbclip.errors import BrokenArtefact, Gone
from support.waiting import eventually

IDS = {"image_ids": ["effusion", "fracture"]}


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.fixture
def snapshots(service, data):
    """Ids of three snapshots, the current one last: of one image more each, the last one appended."""
    client = service()
    folder = SnapshotFolder(data / "snapshots")
    ids = [folder.current()]
    for number, how in enumerate(({}, {"append": True})):
        client.post("/images", json={"items": [{"image_id": f"new {number}", "caption": "Pneumonia.", "split": "train"}]})
        assert client.post("/snapshots", json=how).status_code == 201
        ids.append(folder.current())
    for age, held in enumerate(reversed(ids)):
        os.utime(data / "snapshots" / held / "manifest.json", (1_000_000 - age, 1_000_000 - age))
    return ids


@pytest.mark.parametrize("file", ["images.id_bytes.npy", "manifest.json"])
def test_the_former_one_is_served_and_the_damaged_one_never(service, data, snapshots, capsys, file):
    oldest, former, current = snapshots
    flip(data / "snapshots" / current / file)
    capsys.readouterr()
    client = service()
    for _ in range(3):
        answer = client.post("/targets", json=IDS)
        assert (answer.status_code, answer.json()["snapshot"]) == (200, former)
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["degraded"] == f"snapshot {current} is damaged, {former} is served"
    assert client.get("/info").json()["snapshot"] == former
    assert client.post("/targets", json=IDS | {"snapshot": current}).status_code == 500
    assert client.post("/targets", json=IDS | {"snapshot": oldest}).json()["snapshot"] == oldest
    logged = [line for line in capsys.readouterr().out.splitlines() if "snapshot damaged" in line]
    assert len(logged) == 1
    assert current in logged[0]


def test_damage_of_a_large_file_is_found_while_it_is_served(service, data, snapshots, monkeypatch, capsys):
    go_on, before = threading.Event(), verification._give_way
    monkeypatch.setattr(verification, "_give_way", lambda: (go_on.wait(20), before()))
    _, former, current = snapshots
    flip(data / "snapshots" / current / "images.id_bytes.npy")
    client = service(verify_first_bytes=0)
    assert client.post("/targets", json=IDS).json()["snapshot"] == current
    unverified = client.get("/readyz").json()["unverified_bytes"]
    assert unverified > 10_000
    assert f"snapshot_unverified_bytes {unverified:.1f}" in client.get("/metrics").text
    go_on.set()
    eventually(lambda: client.post("/targets", json=IDS).json()["snapshot"] == former, 10)
    eventually(lambda: "unverified_bytes" not in client.get("/readyz").json(), 10)
    assert client.get("/readyz").json()["degraded"] == f"snapshot {current} is damaged, {former} is served"
    refusal = client.post("/targets", json=IDS | {"snapshot": current})
    assert (refusal.status_code, refusal.json()["type"].rpartition(":")[2]) == (500, "broken-artefact")
    assert client.get("/info").json()["snapshot"] == former
    logged = capsys.readouterr().out
    assert "verifying while serving" in logged
    assert len([line for line in logged.splitlines() if "snapshot damaged" in line]) == 1


def test_who_pins_the_current_one_gets_what_is_served(service, data, snapshots):
    _, former, current = snapshots
    flip(data / "snapshots" / current / "images.id_bytes.npy")
    listed = service().get("/snapshots").json()["snapshots"]
    assert [each["id"] for each in listed if each["current"]] == [former]


def test_what_the_damage_takes_with_it_is_passed_over(service, data, snapshots):
    oldest, former, current = snapshots
    flip(data / "snapshots" / former / "graph.cuis.npy")  # the current one stands on it
    client = service()
    assert client.post("/targets", json=IDS).json()["snapshot"] == oldest
    flip(data / "snapshots" / oldest / "graph.cuis.npy")
    client = service()
    assert client.post("/targets", json=IDS).status_code == 500
    assert client.get("/readyz?for=targets").status_code == 503
    assert client.get("/info").json()["snapshot"] == current


def test_it_is_whole_again_once_it_is_mended(service, data, snapshots):
    _, former, current = snapshots
    path = data / "snapshots" / current / "images.id_bytes.npy"
    flip(path)
    client = service()
    assert client.post("/targets", json=IDS).json()["snapshot"] == former
    flip(path)
    assert client.post("/targets", json=IDS).json()["snapshot"] == current
    assert "degraded" not in client.get("/readyz").json()


def test_an_append_mends_it(service, data, snapshots):
    _, former, current = snapshots
    flip(data / "snapshots" / current / "images.id_bytes.npy")
    client = service()
    assert client.post("/targets", json=IDS).json()["snapshot"] == former
    assert client.post("/snapshots", json={"append": True}).json()["id"] == current
    assert client.post("/targets", json=IDS).json()["snapshot"] == current
    SnapshotFolder(data / "snapshots").verify(current)


def test_another_part_of_the_graph_is_not_served_instead(service, data, snapshots):
    _, former, _ = snapshots
    client = service()
    client.post("/images", json={"items": [{"image_id": "v", "caption": "Pneumonia.", "split": "valid"}]})
    valid = client.post("/snapshots", json={"split": "valid"}).json()["id"]
    flip(data / "snapshots" / valid / "images.id_bytes.npy")
    folder = SnapshotFolder(data / "snapshots")
    with pytest.raises(BrokenArtefact, match=valid):
        folder.open()
    assert folder.open(former).id == former


def test_one_that_is_gone_is_damaged_too(data, snapshots):
    _, former, current = snapshots
    (data / "snapshots" / current).rename(data / "aside")
    folder = SnapshotFolder(data / "snapshots")
    assert folder.open().id == former
    with pytest.raises(Gone):
        folder.open(current)


def test_doctor_names_the_damage(command, data, vocabulary_folder, snapshots):
    flip(data / "snapshots" / snapshots[-1] / "images.id_bytes.npy")
    code, out, err = command("doctor", "--data", data, "--vocabulary", vocabulary_folder)
    assert code
    assert "does not match its SHA-256" in out + err


def test_a_pointer_that_names_no_snapshot_is_no_fault_of_who_asks(service, data, snapshots):
    *_, current = snapshots
    (data / "snapshots" / "CURRENT").write_text("1234")
    answer = service().post("/targets", json=IDS)
    assert (answer.status_code, answer.json()["snapshot"]) == (200, current)
    for held in snapshots:
        flip(data / "snapshots" / held / "images.id_bytes.npy")
    assert service().post("/targets", json=IDS).status_code == 500
