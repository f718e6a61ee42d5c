"""Appending what was added since a mark against appending after a read of the whole graph: the same ids, files and counts."""

import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.graph.embedded.store import EmbeddedStore, open_embedded
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge, Revision
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.mark import Mark, read_mark, write_mark
from kg_service.snapshot.publication import compact, publish

CUIS = [f"C000000{number}" for number in range(5)]
CONCEPTS = [ConceptNode(cui, cui) for cui in CUIS]
IDS = [f"i{number}" for number in range(8)]


def image(image_id, *cuis, linker="given", split="train", caption=""):
    edges = tuple(AttributeEdge(cui, linker=linker) for cui in cuis)
    return ImageNode(image_id, caption or image_id, edges, split=split)


def write(store, *images, is_a=(), on_conflict="reject"):
    store.write(GraphBatch(images, CONCEPTS, [IsAEdge(*edge) for edge in is_a]), on_conflict=on_conflict)


def published(store, folder, **part):
    publish(store, folder, vocabulary={}, representations={"hybrid": Hybrid(hub_share=1.0)}, **part)
    return SnapshotFolder(folder)


class NewOnly:
    """A store of which the whole graph must not be read."""

    def __init__(self, store):
        self.read_new = store.read_new


@pytest.fixture
def store(tmp_path):
    with closing(open_embedded(tmp_path / "graph.db")) as opened:
        yield opened


images = st.builds(
    lambda image_id, cuis, linker, split, caption: image(image_id, *cuis, linker=linker, split=split, caption=caption),
    st.sampled_from(IDS),
    st.sets(st.sampled_from(CUIS), max_size=3).map(sorted),
    st.sampled_from(["given", "dictionary"]),
    st.sampled_from(["train", "test"]),
    st.sampled_from("xy"),
)
steps = st.one_of(
    st.tuples(st.just("write"), st.lists(images, min_size=1, max_size=4), st.sampled_from(["reject", "replace"])),
    st.tuples(st.just("is_a"), st.sampled_from(CUIS[:3]), st.sampled_from(CUIS[3:])),
    st.tuples(st.just("delete"), st.sampled_from(IDS)),
    st.tuples(st.sampled_from(["append", "append", "publish", "backup", "restore"])),
)


@settings(deadline=None, max_examples=30)
@given(st.lists(steps, min_size=2, max_size=9), st.sampled_from([{}, {"split": "train"}]))
def test_any_changes_appended_by_marks_give_what_the_whole_graph_gives(changes, part):
    # Some thousand flushes would be most of its time; what they are for is tested elsewhere.
    with tempfile.TemporaryDirectory() as name, patch("os.fsync"):
        folder = Path(name)
        store = open_embedded(folder / "graph.db")
        write(store, image("base", *CUIS[:2]))
        for way in "marked", "whole":
            published(store, folder / way, **part)
        for what, *given_ in [*changes, ("append",)]:
            if what == "write":
                write(store, *given_[0], on_conflict=given_[1])
            elif what == "is_a":
                write(store, is_a=[given_])
            elif what == "delete":
                store.delete_image(given_[0])
            elif what in ("backup", "restore"):
                store = moved(store, folder, what)
            else:
                made = [do(what, store, folder / way, part, marked=way == "marked") for way in ("marked", "whole")]
                assert made[0] == made[1]
        store.close()


def do(what, store, folder, part, *, marked):
    """The id and the counts of an append, or of a publication."""
    if not marked:
        for file in folder.glob("*/mark.json"):
            file.unlink()
    if what == "publish":
        return published(store, folder, **part).current()
    return append(store, SnapshotFolder(folder))


def moved(store, folder, what) -> EmbeddedStore:
    """The store, opened again, its file kept aside or put back."""
    store.close()
    here, aside = folder / "graph.db", folder / "aside.db"
    if what == "backup":
        shutil.copy(here, aside)
    elif aside.exists():
        shutil.copy(aside, here)
    return open_embedded(here)


def test_new_images_are_appended_without_a_read_of_the_whole_graph(store, tmp_path):
    write(store, image("a", *CUIS[:2]), image("b", CUIS[0]))
    snapshots = published(store, tmp_path / "snapshots")
    for step in ("c", "d"):
        write(store, image(step, CUIS[1]), is_a=[(CUIS[0], CUIS[2])])
        new_id, counts = append(NewOnly(store), snapshots)
        assert (counts.appended, counts.replaced, counts.deleted) == (1, 0, 0)
    assert append(NewOnly(store), snapshots)[0] == new_id
    assert (snapshots.open().positions(["a", "b", "c", "d"]) >= 0).all()


def test_after_a_change_the_whole_graph_is_read_once_and_what_it_told_is_kept(store, tmp_path):
    write(store, *(image(name, CUIS[0]) for name in "abc"))
    snapshots = published(store, tmp_path / "snapshots")
    write(store, image("a", CUIS[1]), on_conflict="replace")
    store.delete_image("b")
    write(store, image("d", CUIS[0], linker="dictionary"))
    with pytest.raises(AttributeError, match="read_graph"):
        append(NewOnly(store), snapshots)
    append(store, snapshots)
    write(store, image("e", CUIS[0]))
    _, counts = append(NewOnly(store), snapshots)
    assert (counts.appended, counts.replaced, counts.deleted) == (1, 1, 1)
    assert snapshots.open().manifest.linkers == ["dictionary", "given"]


def test_an_image_that_comes_back_is_not_appended_twice(store, tmp_path):
    write(store, image("a", CUIS[0]), image("b", CUIS[0]))
    snapshots = published(store, tmp_path / "snapshots")
    store.delete_image("b")
    append(store, snapshots)
    write(store, image("b", CUIS[0]))
    _, counts = append(store, snapshots)
    assert (counts.appended, counts.deleted, len(snapshots.open())) == (0, 0, 2)


def test_a_compaction_takes_up_what_came_meanwhile_by_its_mark(store, tmp_path):
    write(store, image("a", *CUIS[:2]))
    snapshots = published(store, tmp_path / "snapshots")
    write(store, image("b", CUIS[1]))
    append(store, snapshots)

    class Meanwhile:
        """Another image is added right after the graph is read."""

        read_new = store.read_new

        def read_graph(self, **part):
            graph = store.read_graph(**part)
            write(store, image(f"after {len(graph.image_ids)}", CUIS[0]))
            return graph

    manifest = snapshots.manifest(compact(Meanwhile(), snapshots, vocabulary={}))
    assert (manifest.images, manifest.appended.images) == (3, 1)


def test_a_mark_is_no_part_of_the_snapshot(store, tmp_path):
    write(store, image("a", CUIS[0]))
    snapshots = published(store, tmp_path / "snapshots")
    mark = tmp_path / "snapshots" / snapshots.current() / "mark.json"
    assert "mark.json" not in {file.name for file in snapshots.verify(snapshots.current()).files}
    for content in (b"", b"{}", b"[]", b'{"revision": {"number": "x"}}', json.dumps({"revision": 1, "linkers": []}).encode()):
        mark.write_bytes(content)
        assert read_mark(mark.parent) is None
        SnapshotFolder(snapshots.path).open()
        assert append(store, snapshots)[0] == snapshots.current()
    assert read_mark(mark.parent) == Mark(store.read_graph().revision, ("given",))


def test_a_mark_is_read_as_it_was_written(tmp_path):
    mark = Mark(Revision(3, "AB"), ("given", "x"), replaced=1, deleted=2)
    write_mark(tmp_path, mark)
    assert read_mark(tmp_path) == mark
