"""A batch gives the snapshot that ingesting the same files gives."""

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from kg_service.batch.graph import open_linked
from kg_service.batch.run import Part, run
from kg_service.batch.state import bad_rows, state_of
from kg_service.graph import open_store
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
    assert replace(graph, revision=None, **arrays(other)) == replace(other, revision=None)
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


@pytest.mark.parametrize("split", [None, "train"])
def test_the_snapshot_has_the_id_of_one_of_the_store(batch, files, vocabulary, ingested, tmp_path, split):
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
