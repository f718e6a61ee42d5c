"""Whoever publishes, appends, compacts or prunes and is killed leaves the snapshot before or the new one, and no half of any."""

import shutil
from contextlib import closing

import pytest
from kg_service.graph import open_store
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.mark import read_mark
from kg_service.snapshot.pruning import prune
from kg_service.snapshot.publication import compact, publish
from kg_service.storage.scratch import PREFIX
from kg_service.storage.sweeping import sweep
from nbclip.errors import BrokenArtefact, Gone
from support.counts import often
from support.deaths import calls_of, deaths_of
from support.small_graphs import GraphOnly, graph_of

EVERY = often(15, 1)
HYBRID = {"hybrid": Hybrid(smoothing=0, hub_share=1.0)}
BEFORE = graph_of([[0, 1], [1], [0, 2]])
AFTER = graph_of([[0, 1], [1], [0, 2], [2, 3]])


def published(graph, folder):
    return publish(GraphOnly(graph), folder, vocabulary={}, representations=HYBRID)


@pytest.fixture
def held(memory):
    """A folder with a snapshot; (its id, the id that AFTER gets)."""
    before = published(BEFORE, memory / "held")
    return memory / "held", before, published(AFTER, memory / "clean")


@pytest.fixture
def dies(memory, record_property):
    """The folder after each death of what `act(folder)` does in a copy of `held`, swept and with all that it holds whole."""

    def died(held, act):
        def prepare(call):
            copy = shutil.copytree(held, memory / f"died {call}")
            return lambda: act(copy)

        died_at = []
        for call in deaths_of(prepare, EVERY):
            died_at.append(call)
            folder = memory / f"died {call}"
            at_once = SnapshotFolder(folder).open().id
            sweep(folder)
            assert not list(folder.rglob(f"{PREFIX}*"))
            snapshots = SnapshotFolder(folder)
            for each in snapshots.ids():
                snapshots.verify(each)
            assert snapshots.open().id == snapshots.current() == at_once
            yield snapshots
        record_property("deaths", len(died_at))

    return died


def changes_once(found, before, after):
    change = found.index(after)
    return found == [before] * change + [after] * (len(found) - change) and change > 0


def test_every_file_and_every_folder_is_flushed_before_it_counts(memory, held):
    calls = calls_of(lambda: published(AFTER, memory / "new"))
    (snapshot,) = (memory / "new").glob("*/manifest.json")
    files = len(list(snapshot.parent.iterdir()))
    # The new folder's name, then the pointers of three variants in a smaller type; the files and their folder, then its name; the
    # folder of snapshots and CURRENT, then its content; the folder again.
    flushes = [call for call in calls if call in ("fsync", "rename", "replace")]
    assert flushes == ["fsync"] + ["replace"] * 3 + ["fsync"] * (files + 1) + ["rename"] + ["fsync"] * 2 + ["replace", "fsync"]


def test_dying_at_any_write_of_a_publication_leaves_the_snapshot_before_or_the_new_one(held, dies):
    folder, before, after = held
    served = []
    for snapshots in dies(folder, lambda copy: published(AFTER, copy)):
        served.append(snapshots.current())
        assert snapshots.open(before).id == before
        assert published(AFTER, snapshots.path) == after == snapshots.current()
    assert changes_once(served, before, after)


def test_dying_at_any_write_of_one_that_mends_a_damaged_snapshot_leaves_one_that_is_whole(memory, held, record_property):
    folder, before, after = held
    published(AFTER, folder)
    path = folder / after / "images.id_bytes.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    def prepare(call):
        copy = shutil.copytree(folder, memory / f"died {call}")
        return lambda: published(AFTER, copy)

    served = []
    for call in deaths_of(prepare, EVERY):
        snapshots = SnapshotFolder(memory / f"died {call}")
        sweep(snapshots.path)
        served.append(snapshots.open().id)
        try:
            snapshots.verify(after)
        except (BrokenArtefact, Gone):
            assert snapshots.open().id == before
        assert published(AFTER, snapshots.path) == after
        assert snapshots.open().id == after
    assert changes_once(served, before, after)
    record_property("deaths", len(served))


def test_dying_at_any_write_of_a_removal_leaves_whole_snapshots_alone(memory, held, dies):
    folder, before, after = held
    third = published(graph_of([[0], [1]]), folder)
    assert published(AFTER, folder) == after
    left = []
    for snapshots in dies(folder, lambda copy: prune(SnapshotFolder(copy), 0)):
        left.append(set(snapshots.ids()))
        assert after in left[-1]
        prune(snapshots, 0)
        assert snapshots.ids() == [after]
    assert left[0] == {before, after, third}
    assert left[-1] == {after}
    assert [len(each) for each in left] == sorted((len(each) for each in left), reverse=True)


def images(numbers):
    """A batch of images, each of two concepts."""
    cuis = [f"C{number:07d}" for number in range(5)]
    edges = {number: [AttributeEdge(cuis[number % 5], "x"), AttributeEdge(cuis[number * 3 % 5], "y")] for number in numbers}
    nodes = [ImageNode(f"i{number:02d}", f"caption {number}", tuple(edges[number])) for number in numbers]
    return GraphBatch(nodes, [ConceptNode(cui, cui) for cui in cuis], [])


@pytest.fixture
def growing(memory):
    """A snapshot of 8 images with 2 appended, and the store, which has 12: (the snapshots' folder, a function that opens it)."""

    def store():
        return closing(open_store(str(memory / "graph.sqlite")))

    folder = memory / "held"
    with store() as graph:
        graph.write(images(range(8)))
        publish(graph, folder, vocabulary={}, representations=HYBRID)
        graph.write(images(range(8, 10)))
        append(graph, SnapshotFolder(folder))
        graph.write(images(range(10, 12)))
    return folder, store


def test_dying_at_any_write_of_an_append_leaves_the_snapshot_before_or_the_new_one(growing, dies):
    folder, store = growing

    def grow(copy):
        with store() as graph:
            return append(graph, SnapshotFolder(copy))[0]

    before, lengths = SnapshotFolder(folder).current(), []
    for snapshots in dies(folder, grow):
        lengths.append(len(snapshots.open()))
        assert len(snapshots.open(before)) == 10
        assert read_mark(snapshots.path / before)
        assert len(snapshots.open(grow(snapshots.path))) == 12
    assert changes_once(lengths, 10, 12)


def test_dying_at_any_write_of_a_compaction_leaves_the_snapshot_before_or_the_new_one(growing, dies):
    folder, store = growing

    def renew(copy):
        with store() as graph:
            return compact(graph, SnapshotFolder(copy), vocabulary={})

    before, lengths = SnapshotFolder(folder).current(), []
    for snapshots in dies(folder, renew):
        lengths.append(len(snapshots.open()))
        assert len(snapshots.open(before)) == 10
        compacted = renew(snapshots.path)
        assert snapshots.manifest(compacted).appended is None
        assert len(snapshots.open()) == 12
    assert changes_once(lengths, 10, 12)
