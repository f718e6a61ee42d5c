"""What is current after a publication in whose time others appended and published."""

from contextlib import closing

import pytest
from kg_service.graph.embedded.store import open_embedded
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.publication import publish

CUIS = ["C0000001", "C0000002"]


@pytest.fixture
def store(tmp_path):
    with closing(open_embedded(tmp_path / "graph.db")) as opened:
        write(opened, "first", "second")
        yield opened


@pytest.fixture
def snapshots(tmp_path):
    return SnapshotFolder(tmp_path / "snapshots")


def write(store, *ids, split="train"):
    images = [ImageNode(each, each, tuple(map(AttributeEdge, CUIS)), split=split) for each in ids]
    store.write(GraphBatch(images, [ConceptNode(cui, cui) for cui in CUIS]))


def published(store, snapshots, meanwhile=None, **options):
    """Publishes; `meanwhile` happens once the graph has been read and fitted."""

    def on_stage(stage, fraction):
        if stage == "writing" and meanwhile:
            meanwhile()

    return publish(store, snapshots.path, vocabulary={}, on_stage=on_stage, **options)


def held(snapshots):
    """Image ids of the current snapshot."""
    opened = snapshots.open()
    return {opened.image_id(row) for row in range(len(opened))}


def test_what_was_appended_meanwhile_is_appended_to_it(store, snapshots):
    published(store, snapshots)

    def meanwhile():
        write(store, "late")
        append(store, snapshots)

    new_id = published(store, snapshots, meanwhile, split="train")
    assert (snapshots.current(), held(snapshots)) == (new_id, {"first", "second", "late"})
    assert snapshots.manifest(new_id).split == "train"


def test_images_of_another_part_are_not(store, snapshots):
    published(store, snapshots)

    def meanwhile():
        write(store, "late", split="test")
        append(store, snapshots)

    assert published(store, snapshots, meanwhile, split="train") == snapshots.current()
    assert held(snapshots) == {"first", "second"}


def test_one_of_a_later_state_that_was_published_meanwhile_stays_current(store, snapshots):
    published(store, snapshots)
    later = []

    def meanwhile():
        write(store, "late")
        later.append(published(store, snapshots))

    new_id = published(store, snapshots, meanwhile, split="train")
    assert [snapshots.current()] == later != [new_id]
    assert held(snapshots) == {"first", "second", "late"}
    assert snapshots.verify(new_id).split == "train"


def test_one_of_a_later_state_stays_current_where_nothing_was_before(store, snapshots):
    later = []

    def meanwhile():
        write(store, "late")
        later.append(published(store, snapshots))

    published(store, snapshots, meanwhile)
    assert [snapshots.current()] == later


def test_of_two_of_one_state_the_last_to_end_is_current(store, snapshots):
    new_id = published(store, snapshots, lambda: published(store, snapshots, split="train"))
    assert snapshots.current() == new_id
    assert snapshots.manifest(new_id).split is None


def test_it_takes_the_place_of_a_damaged_one(store, snapshots):
    damaged = published(store, snapshots)
    write(store, "late")
    new_id = published(store, snapshots, lambda: (snapshots.path / damaged / "manifest.json").write_text("{"))
    assert snapshots.current() == new_id
    assert held(snapshots) == {"first", "second", "late"}
