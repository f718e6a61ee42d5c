"""Snapshots that are published without being served: held until they are removed by name, and never served by themselves."""

import os

import pytest
from kg_service.errors import MissingPart
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.pruning import prune, remove
from kg_service.snapshot.publication import publish
from kg_service.storage.artefact import MANIFEST
from nbclip.errors import BrokenArtefact
from support.small_graphs import GraphOnly, graph_of

ROWS = [[0], [0, 1], [1, 2], [2], [0, 2], [1]]
ages = iter(range(1, 1_000))


def made(folder, images, **how):
    graph = GraphOnly(graph_of(ROWS[:images], count=3))
    new_id = publish(graph, folder, vocabulary={}, representations={"hybrid": Hybrid()}, **how)
    age = next(ages)
    os.utime(folder / new_id / MANIFEST, (age, age))
    return new_id


def damage(folder, held):
    (folder / held / "images.caption_keys.npy").write_bytes(b"")


def test_what_is_served_stays_and_it_opens_by_its_id(tmp_path):
    first = made(tmp_path, 2, current=False)
    folder = SnapshotFolder(tmp_path)
    assert folder.current() is None
    with pytest.raises(MissingPart):
        folder.open()
    assert len(folder.open(first)) == 2
    served = made(tmp_path, 3)
    aside = made(tmp_path, 4, current=False)
    assert folder.current() == served
    assert (len(folder.open()), len(folder.open(aside))) == (3, 4)


def test_pruning_leaves_them_and_does_not_count_them_unless_it_is_told(tmp_path):
    old, aside, other, newer, served = (made(tmp_path, n, current=n not in (3, 4)) for n in (2, 3, 4, 5, 6))
    folder = SnapshotFolder(tmp_path)
    assert prune(folder, 1) == [old]
    assert set(folder.ids()) == {aside, other, newer, served}
    assert prune(folder, 1, aside=True) == [other, aside]
    assert folder.ids() == [served, newer]
    again = made(tmp_path, 3, current=False)
    assert (again, folder.current()) == (aside, served)
    remove(folder, again)
    assert folder.ids() == [served, newer]


def test_one_that_was_served_too_is_left_all_the_same(tmp_path):
    both, served = made(tmp_path, 2), made(tmp_path, 3)
    assert made(tmp_path, 2, current=False) == both
    folder = SnapshotFolder(tmp_path)
    assert (folder.current(), prune(folder, 0)) == (served, [])


def test_nothing_damaged_is_replaced_by_one_that_never_was_served(tmp_path):
    made(tmp_path, 2, current=False)
    served = made(tmp_path, 3)
    damage(tmp_path, served)
    with pytest.raises(BrokenArtefact):
        SnapshotFolder(tmp_path).open()
    mended = made(tmp_path, 2)
    assert made(tmp_path, 4) != mended
    damage(tmp_path, SnapshotFolder(tmp_path).current())
    assert SnapshotFolder(tmp_path).open().id == mended
