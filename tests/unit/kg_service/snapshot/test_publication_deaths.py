"""A publication that dies at any flush or rename: the snapshot before is served or the new one, and the next one is whole."""

import shutil

import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.publication import publish
from nbclip.errors import BrokenArtefact, Gone
from support.deaths import calls_of, deaths_of
from support.small_graphs import GraphOnly, graph_of

BEFORE = graph_of([[0, 1], [1], [0, 2]])
AFTER = graph_of([[0, 1], [1], [0, 2], [2, 3]])


def published(graph, folder):
    return publish(GraphOnly(graph), folder, vocabulary={}, representations={"hybrid": Hybrid(smoothing=0, hub_share=1.0)})


@pytest.fixture
def held(tmp_path):
    """A folder with a snapshot; (its id, the id that AFTER gets)."""
    before = published(BEFORE, tmp_path / "held")
    return tmp_path / "held", before, published(AFTER, tmp_path / "clean")


def test_every_file_and_every_folder_is_flushed_before_it_counts(tmp_path):
    calls = calls_of(lambda: published(AFTER, tmp_path))
    (snapshot,) = tmp_path.glob("*/manifest.json")
    files = len(list(snapshot.parent.iterdir()))
    # the files and their folder, then its new name; the folder of snapshots and CURRENT, then its content; the folder again
    assert calls.index("rename") >= files + 1
    assert calls[calls.index("rename") : calls.index("replace")].count("fsync") >= 2
    assert calls[-1] == "fsync"


def test_dying_at_any_write_of_a_publication_leaves_the_snapshot_before_or_the_new_one(tmp_path, held, record_property):
    folder, before, after = held

    def prepare(call):
        shutil.copytree(folder, tmp_path / f"died {call}")
        return lambda: published(AFTER, tmp_path / f"died {call}")

    served = []
    for call in deaths_of(prepare):
        snapshots = SnapshotFolder(tmp_path / f"died {call}")
        served.append(snapshots.open().id)
        assert snapshots.current() == served[-1]
        assert snapshots.open(before).id == before
        for each in snapshots.ids():
            snapshots.verify(each)
        assert published(AFTER, snapshots.path) == after
        assert snapshots.open().id == after
    change = served.index(after)
    assert set(served[:change]) == {before}
    assert set(served[change:]) == {after}
    record_property("deaths", len(served))


def test_dying_at_any_write_of_one_that_mends_a_damaged_snapshot_leaves_one_that_is_whole(tmp_path, held, record_property):
    folder, before, after = held
    published(AFTER, folder)
    path = folder / after / "images.id_bytes.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    def prepare(call):
        shutil.copytree(folder, tmp_path / f"died {call}")
        return lambda: published(AFTER, tmp_path / f"died {call}")

    served = []
    for call in deaths_of(prepare):
        snapshots = SnapshotFolder(tmp_path / f"died {call}")
        served.append(snapshots.open().id)
        try:
            snapshots.verify(after)
        except (BrokenArtefact, Gone):
            assert snapshots.open().id == before
        assert published(AFTER, snapshots.path) == after
        assert snapshots.open().id == after
    assert set(served) == {before, after}
    record_property("deaths", len(served))
