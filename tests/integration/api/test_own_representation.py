"""A representation of one's own is a file (`support/bag_of_concepts.py`) and a line in the table.

Settings, publish, append, every answer, a snapshot opened anew, compaction and the trainer's vectors follow.
"""

import csv
import shutil
from contextlib import closing

import numpy as np
import pytest
import torch
from kg_service.graph import open_store
from kg_service.representations.methods import METHODS
from kg_service.snapshot import SnapshotFolder, answer_targets
from kg_service.snapshot.publication import compact
from nbclip.codec import MEDIA_TYPE, decode
from nbclip.schemas.targets import TargetsRequest
from nbclip.vectors import decode_vectors
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.losses.table import LOSSES
from nbclip_trainer.targets.multiply import similarity_on
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.snapshot import SnapshotSource
from nbclip_trainer.training.session import build_session
from nbclip_trainer.training.step import train_step
from support.own_loss import Hinge
from support.steps import overrides, write_pairs

FIRST = {
    "effusion": "Chest X-ray showing a pleural effusion.",
    "effusion too": "Radiograph of the chest with pleural effusion and pneumonia.",
    "pneumonia": "Chest CT showing pneumonia.",
    "fracture": "Femur fracture.",
    "empty": "zzz qqq.",
}
LATER = {"both": "Pneumonia and a femur fracture.", "unknown": "Liver ultrasound.", "alike": "Pleural effusion."}
IDS = [*FIRST, *LATER]


@pytest.fixture
def bag(monkeypatch):
    monkeypatch.setitem(METHODS, "bag", "support.bag_of_concepts:METHOD")
    monkeypatch.setenv("KG_REPRESENTATIONS", "bag")
    monkeypatch.setenv("KG_BAG_PARENTS", "0.25")


@pytest.fixture
def folder(bag, tmp_path, vocabulary_folder, command):
    """Published with five images, with three more in the graph."""
    data = tmp_path / "own"
    for captions in (FIRST, LATER):
        file = tmp_path / "captions.csv"
        with file.open("w") as opened:
            csv.writer(opened).writerows([("image_id", "caption"), *captions.items()])
        assert command("ingest", file, "--data", data, "--vocabulary", vocabulary_folder)[0] == 0
        if captions is FIRST:
            assert command("snapshot", "publish", "--data", data, "--vocabulary", vocabulary_folder)[0] == 0
    return data


def worked_out(data, knowledge, parents=0.25):
    """The oracle: cosines of dense vectors of concepts, from the store; concepts that the published images lack are left out."""
    with closing(open_store(str(data / "graph.sqlite"))) as store:
        concepts = {each.image_id: {edge.cui for edge in each.attributes} for each in store.images()}
        graph = store.read_graph()
    is_a = {(graph.cuis[child], graph.cuis[parent]) for child, parent in graph.is_a}
    above = {child: {parent for each, parent in is_a if each == child} for child in graph.cuis}
    known = {cui for image_id in FIRST for cui in concepts[image_id]}
    while more := {parent for cui in known for parent in above[cui]} - known:
        known |= more
    place = {cui: at for at, cui in enumerate(sorted(known))}
    vectors = np.zeros((len(IDS), len(place)))
    for row, image_id in enumerate(IDS):
        for cui in concepts[image_id] & known:
            vectors[row, place[cui]] += 1
            for parent in above[cui] if knowledge == "dk_ek" else ():
                vectors[row, place[parent]] += parents
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, 1)
    return cosines


def asked(knowledge, **more):
    return {"image_ids": IDS, "representation": "bag", "knowledge": knowledge, **more}


@pytest.mark.parametrize("knowledge", ["dk", "dk_ek"])
def test_it_is_published_appended_and_answered_as_it_was_set(folder, vocabulary_folder, command, service, tmp_path, knowledge):
    snapshots = SnapshotFolder(folder / "snapshots")
    published = snapshots.manifest(snapshots.current())
    assert published.variants.keys() == {"bag/dk", "bag/dk_ek", "noise/noise"}
    assert published.variants["bag/dk"] == {"method": "bag", "parents": 0.25}
    code, printed, _ = command("snapshot", "append", "--data", folder)
    assert (code, snapshots.manifest(printed.strip()).appended.images) == (0, 3)
    expected = worked_out(folder, knowledge)
    assert 0 < np.count_nonzero(expected[5:, :5]) < 15

    client = service(data=folder, vocabulary=vocabulary_folder)
    answer = client.post("/targets", json=asked(knowledge, output="similarity"), headers={"accept": MEDIA_TYPE})
    np.testing.assert_allclose(decode(answer.content).values, expected, atol=1e-6)
    batch = decode_vectors(client.post("/representations", json=asked(knowledge)).content)
    np.testing.assert_allclose(similarity_on(torch.device("cpu"), batch, torch.arange(len(IDS))), expected, atol=1e-6)

    chosen = {"representation": "bag", "knowledge": knowledge}
    near = client.get("/images/effusion/neighbours", params=chosen).json()["neighbours"]
    others = {image_id: value for image_id, value in zip(IDS, expected[0], strict=True) if image_id != "effusion" and value > 0}
    assert {each["image_id"]: each["similarity"] for each in near} == pytest.approx(others, abs=1e-6)
    why = client.post("/explain", json={"image_id": "effusion too", "other_id": "both", **chosen}).json()
    assert why["similarity"] == pytest.approx(expected[1, 5], abs=1e-6)
    assert why["additive"]
    assert sum(part["share"] for part in why["contributions"]) == pytest.approx(expected[1, 5], abs=1e-6)

    reopened = SnapshotFolder(folder / "snapshots").open()
    again = answer_targets(reopened, TargetsRequest(**asked(knowledge, output="similarity")))
    assert np.array_equal(again.values, decode(answer.content).values)
    file = tmp_path / "vectors.safetensors"
    options = ("--representation", "bag", "--knowledge", knowledge)
    assert command("snapshot", "embeddings", file, "--data", folder, *options)[0] == 0
    source = SnapshotSource(file, TargetSettings(**chosen, mode="snapshot", file=file))
    values = similarity_on(torch.device("cpu"), source.fetch(IDS[1:3], IDS), torch.tensor([1, 2]))
    np.testing.assert_allclose(values, expected[1:3], atol=1e-6)


@pytest.mark.parametrize("loss", ["sm", "hinge"])
def test_a_training_step_is_taken_by_its_similarities(folder, command, tmp_path, monkeypatch, loss):
    monkeypatch.setitem(LOSSES, "hinge", Hinge)
    file = tmp_path / "vectors.safetensors"
    command("snapshot", "append", "--data", folder)
    assert command("snapshot", "embeddings", file, "--data", folder, "--representation", "bag")[0] == 0
    pairs = write_pairs(tmp_path / "pairs", len(IDS))
    for number, image_id in enumerate(IDS):
        pairs.write_text(pairs.read_text().replace(f"id{number},", f"{image_id},"))
    targets = f"targets={{knowledge: dk_ek, representation: bag, mode: snapshot, file: {file}}}"
    everything = ("data.train_split=null", "data.valid_split=null")
    session = build_session(load_config("tiny-nbclip", overrides(pairs, f"loss.name={loss}", targets, *everything)))
    batch = next(iter(session.plan.batches(0)))
    vectors = session.answer(batch)
    order = [IDS.index(session.train.dataset.ids[row]) for row in batch.rows]
    values = similarity_on(torch.device("cpu"), vectors, torch.arange(len(order)))
    np.testing.assert_allclose(values, worked_out(folder, "dk_ek")[np.ix_(order, order)], atol=1e-6)
    result = train_step(session, batch, next(session.train.images.training([batch])).pixels, vectors)
    assert np.isfinite(result.figures.read()["loss"])


def test_compaction_fits_it_anew_by_its_cards_whatever_is_set_by_then(folder, command, monkeypatch):
    command("snapshot", "append", "--data", folder)
    monkeypatch.setenv("KG_BAG_PARENTS", "1")
    snapshots = SnapshotFolder(folder / "snapshots")
    with closing(open_store(str(folder / "graph.sqlite"))) as store:
        compact(store, snapshots, vocabulary={})
    opened = snapshots.open()
    assert opened.manifest.appended is None
    assert opened.manifest.variants["bag/dk_ek"] == {"method": "bag", "parents": 0.25}


def test_an_option_sets_its_parameter_and_what_is_wrong_with_one_is_said(folder, vocabulary_folder, command, monkeypatch):
    publish = ("snapshot", "publish", "--data", folder, "--vocabulary", vocabulary_folder)
    _, printed, _ = command(*publish, "--representation", "bag", "--representation", "hybrid", "--set", "bag.parents=0.75")
    variants = SnapshotFolder(folder / "snapshots").manifest(printed.strip()).variants
    assert (variants["bag/dk"]["parents"], "hybrid/dk" in variants) == (0.75, True)
    for words in ("bag.parent=1", "bag.parents", "sack.parents=1", "bag.parents=2"):
        assert command(*publish, "--set", words)[0] == 2
    code, _, err = command(*publish, "--set", "bag.parent=1")
    assert "parameters of bag: parents" in err
    monkeypatch.setenv("KG_BAG_PARENTS", "2")
    code, _, err = command(*publish)
    assert (code, "KG_BAG_PARENTS='2'" in err) == (2, True)


def test_settings_print_it_and_the_doctor_knows_its_variables(folder, vocabulary_folder, command, monkeypatch):
    assert "| `KG_BAG_PARENTS` | `0.5` | weight of a concept's parents |" in command("settings")[1].splitlines()
    doctor = ("doctor", "--data", folder, "--vocabulary", vocabulary_folder)
    assert command(*doctor)[0] == 0
    monkeypatch.setenv("KG_BAG_PARENT", "1")
    code, out, _ = command(*doctor)
    assert (code, "no such setting: KG_BAG_PARENT" in out) == (1, True)


def test_without_its_line_the_snapshot_is_served_but_not_explained_or_appended_to(
    folder, vocabulary_folder, command, service, problem, monkeypatch
):
    monkeypatch.delitem(METHODS, "bag")
    monkeypatch.delenv("KG_REPRESENTATIONS")
    client = service(data=folder, vocabulary=vocabulary_folder)
    answer = client.post("/targets", json={**asked("dk_ek", output="similarity"), "image_ids": [*FIRST]})
    np.testing.assert_allclose(answer.json()["values"], worked_out(folder, "dk_ek")[:5, :5], atol=1e-6)
    pair = {"image_id": "effusion", "other_id": "pneumonia", "representation": "bag"}
    refused = problem(client.post("/explain", json=pair), 409, "other-version")
    assert "made by another version: its representation 'bag' is not known here" in refused["detail"]
    assert "kg-service snapshot publish" in refused["hint"]
    code, _, err = command("snapshot", "append", "--data", folder)
    assert (code, "'bag' is not known here" in err) == (2, True)
    shutil.rmtree(folder / "snapshots")
    assert command("snapshot", "publish", "--data", folder, "--vocabulary", vocabulary_folder)[0] == 0
