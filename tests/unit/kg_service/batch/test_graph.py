"""A batch gives the snapshot that ingesting the same files gives."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from kg_service.batch.graph import open_linked
from kg_service.batch.run import Part, run
from kg_service.batch.state import bad_rows, state_of
from kg_service.graph import open_store
from kg_service.graph.exports.tables import each_concept_once
from kg_service.graph.store import GraphCounts
from kg_service.ingest.pipeline import ingest_file
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput
from support.batches import in_turn, planned, some_rows


@pytest.fixture
def ingested(tmp_path, vocabulary):
    """A store with the rows of files, and the problems there were."""

    def ingest(files, **options):
        known, problems = open_vocabulary(vocabulary), []
        linker = build_linker("dictionary", known)
        store = open_store(str(tmp_path / "graph.sqlite"))
        for file in files:
            ingest_file(file, store, linker, known, options=ReadOptions(**options), batch_size=7, on_problem=problems.append)
        return store, problems

    return ingest


def same(graph, other):
    texts = {name: tuple(getattr(graph, name)) for name in ("image_ids", "caption_sha256")}
    assert replace(graph, revision=None, **texts, **arrays(other)) == replace(other, revision=None)
    for name, array in arrays(graph).items():
        np.testing.assert_equal(array, getattr(other, name))
    return True


def arrays(graph):
    return {name: getattr(graph, name) for name in ("attribute_indptr", "attribute_indices", "is_a", "relations")}


@pytest.mark.parametrize("part", [{}, {"split": "train"}, {"split": "valid"}, {"dataset": "d"}, {"dataset": "none"}])
def test_the_graph_is_that_of_a_store(batch, files, vocabulary, ingested, tmp_path, part):
    options = {"dataset": "d"} if "dataset" in part else {}
    batch = planned(tmp_path / "other", vocabulary, files, **options) if options else batch
    run(*batch, in_turn)
    linked = open_linked(batch[0].folder, open_vocabulary(vocabulary))
    store, _ = ingested(files, **options)
    with closing(store):
        assert same(linked.read_graph(**part), store.read_graph(**part))
        assert (linked.image_ids(), linked.splits()) == (store.image_ids(), store.splits())


def test_batches_and_counts_are_those_of_a_store(batch, files, vocabulary, ingested, monkeypatch):
    monkeypatch.setattr("kg_service.batch.tables._ROW_GROUP", 2)
    run(*batch, in_turn)
    linked = open_linked(batch[0].folder, open_vocabulary(vocabulary))
    store, _ = ingested(files)
    with closing(store):
        assert whole(linked) == whole(store)
        assert linked.counts() == store.counts()
    assert {len(part.images) for part in linked.batches()} == {0, 1, 2}


def test_concepts_of_a_rejected_row_are_part_of_the_graph_as_with_ingest(vocabulary, ingested, tmp_path):
    (tmp_path / "a.csv").write_text("image_id,caption\na,pneumonia\na,no pneumothorax\n")
    batch = planned(tmp_path / "work", vocabulary, [tmp_path / "a.csv"], shard_rows=1)
    run(*batch, in_turn)
    linked = open_linked(batch[0].folder, open_vocabulary(vocabulary))
    store, _ = ingested([tmp_path / "a.csv"])
    with closing(store):
        assert whole(linked) == whole(store)
    concepts, _, _, images = whole(linked)
    assert "C0000004" in [concept.cui for concept in concepts]
    assert [edge.cui for image in images for edge in image.attributes] == ["C0000001"]


def test_a_batch_without_a_usable_row_is_an_empty_graph(vocabulary, tmp_path):
    (tmp_path / "a.csv").write_text("image_id,caption\n,pneumonia\n,lung\n")
    batch = planned(tmp_path / "work", vocabulary, [tmp_path / "a.csv"], shard_rows=1)
    run(*batch, in_turn)
    linked = open_linked(batch[0].folder, open_vocabulary(vocabulary))
    assert (linked.image_ids(), whole(linked), linked.rejected()) == (set(), ([], [], [], []), [])
    assert linked.counts() == GraphCounts(0, 0, 0, 0)


def test_images_were_ingested_when_their_shard_was_linked(batch, vocabulary):
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    run(*batch, in_turn)
    ended = datetime.now(UTC)
    times = {
        image.ingested_at for part in open_linked(batch[0].folder, open_vocabulary(vocabulary)).batches() for image in part.images
    }
    assert all(begun <= datetime.fromisoformat(each) <= ended for each in times)
    assert len(times) > 1


def whole(source):
    """Concepts with what is known of them, is_a, relations, and images without their times, each sorted."""
    parts = list(each_concept_once(source.batches()))
    concepts, is_a, relations, images = (
        [each for part in parts for each in getattr(part, name)] for name in ("concepts", "is_a", "relations", "images")
    )
    timeless = [replace(image, ingested_at="") for image in images]
    return tuple(sorted(found, key=str) for found in (concepts, is_a, relations, timeless))


def test_rejected_and_bad_rows_are_those_of_ingest(batch, files, vocabulary, ingested):
    run(*batch, in_turn)
    store, problems = ingested(files)
    store.close()
    rejected = open_linked(batch[0].folder, open_vocabulary(vocabulary)).rejected()
    bad = list(bad_rows(batch[0].folder, state_of(batch[0].folder)))
    assert len(rejected) > 3
    assert sorted(map(str, [*rejected, *bad])) == sorted(map(str, problems))
    places = [(files.index(next(file for file in files if str(file) == row.file)), row.line) for row in rejected]
    assert places == sorted(places)


@pytest.mark.parametrize(("split", "row_group"), [(None, 4_096), ("train", 2)])
def test_the_snapshot_has_the_id_of_one_of_the_store(batch, files, vocabulary, ingested, tmp_path, monkeypatch, split, row_group):
    monkeypatch.setattr("kg_service.batch.tables._ROW_GROUP", row_group)
    for number in (2, 1):
        run(*batch, in_turn, part=Part(number, 2))
    known = open_vocabulary(vocabulary)
    store, _ = ingested(files)
    with closing(store):
        expected = publish(store, tmp_path / "one", vocabulary=known.describe(), hierarchy=known, split=split)
    linked = open_linked(batch[0].folder, known)
    assert publish(linked, tmp_path / "other", vocabulary=known.describe(), hierarchy=known, split=split) == expected


def test_a_batch_whose_shards_are_not_all_linked_or_are_damaged_is_refused(batch, vocabulary):
    known, folder = open_vocabulary(vocabulary), batch[0].folder
    run(*batch, in_turn, part=Part(1, 2))
    with pytest.raises(Conflict, match=r"12 of 24 shards .*a\.csv:7-11"):
        open_linked(folder, known)
    run(*batch, in_turn)
    with (folder / "linked" / "00001.parquet").open("r+b") as file:
        file.seek(20)
        file.write(b"\xff")
    with pytest.raises(BrokenArtefact, match=r"00001\.parquet"):
        open_linked(folder, known)


def test_another_vocabulary_than_the_plans_is_refused(batch, vocabulary):
    run(*batch, in_turn)

    class Other:
        sha256 = "0" * 64

    with pytest.raises(Conflict, match="vocabulary"):
        open_linked(batch[0].folder, Other())


def test_a_part_without_images_is_told_with_the_splits_there_are(batch, vocabulary, tmp_path):
    run(*batch, in_turn)
    known = open_vocabulary(vocabulary)
    with pytest.raises(InvalidInput, match="no image of split 'test'") as caught:
        publish(open_linked(batch[0].folder, known), tmp_path / "s", vocabulary=known.describe(), split="test")
    assert "train, valid" in caught.value.hint


def test_rows_repeat_ids_and_contradict_each_other():
    rows = some_rows(90)
    assert len({row["image_id"] for row in rows}) < len({tuple(row.items()) for row in rows}) < len(rows)
