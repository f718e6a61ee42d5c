"""Pruning removes what nothing needs, and never what a kept snapshot stands on."""

import os

import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.append import append
from kg_service.snapshot.pruning import prune
from kg_service.snapshot.publication import publish
from kg_service.storage.artefact import MANIFEST
from nbclip.errors import Gone
from support.small_graphs import GraphOnly, graph_of

ROWS = [[0], [0, 1], [1, 2], [2], [0, 2], [1]]


class Folder:
    """Snapshots whose ages are the order in which they were made, whatever the file system's clock."""

    def __init__(self, path):
        self.path = path
        self.snapshots = SnapshotFolder(path)
        self.made = 0

    def publish(self, images):
        return self._aged(publish(self._graph(images), self.path, vocabulary={}, representations={"hybrid": Hybrid()}))

    def append(self, images):
        return self._aged(append(self._graph(images), self.snapshots)[0])

    def _graph(self, images):
        return GraphOnly(graph_of(ROWS[:images], count=3))

    def _aged(self, made):
        self.made += 1
        os.utime(self.path / made / MANIFEST, (self.made, self.made))
        return made


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "snapshots")


def test_the_newest_stay_beside_the_current_one(folder):
    first, second, third, fourth = map(folder.publish, (2, 3, 4, 5))
    assert prune(folder.snapshots, 1) == [second, first]
    assert folder.snapshots.ids() == [fourth, third]
    assert prune(folder.snapshots, 1) == []
    with pytest.raises(Gone):
        SnapshotFolder(folder.path).open(first)


def test_what_a_kept_one_stands_on_stays(folder):
    lone = folder.publish(2)
    base = folder.publish(3)
    earlier, current = folder.append(5), folder.append(6)
    assert prune(folder.snapshots, 0) == [lone]
    opened = SnapshotFolder(folder.path)
    assert opened.ids() == [current, earlier, base]
    assert len(opened.open()) == 6
    opened.verify(current)


def test_what_was_taken_in_by_a_later_one_goes(folder):
    base = folder.publish(3)
    earlier, current = folder.append(4), folder.append(5)
    assert prune(folder.snapshots, 0) == [earlier]
    assert folder.snapshots.ids() == [current, base]
    folder.snapshots.verify(current)


def test_who_has_one_open_goes_on_with_it(folder):
    first = folder.publish(3)
    opened = folder.snapshots.open(first)
    folder.publish(4)
    before = opened.vectors("hybrid", "dk")
    assert prune(folder.snapshots, 0) == [first]
    assert (opened.vectors("hybrid", "dk").dense == before.dense).all()


def test_a_damaged_one_can_be_removed(folder):
    first = folder.publish(2)
    folder.publish(3)
    (folder.path / first / MANIFEST).write_text("{}")
    assert prune(folder.snapshots, 0) == [first]


def test_damaged_ones_go_and_do_not_count_among_those_kept(folder):
    first, second, third, fourth, current = map(folder.publish, (2, 3, 4, 5, 6))
    (folder.path / fourth / MANIFEST).write_text("{}")
    (folder.path / third / "graph.is_a.npy").write_bytes(b"x")
    assert prune(folder.snapshots, 1) == [fourth, third, first]
    assert folder.snapshots.ids() == [current, second]


def test_the_current_one_stays_even_damaged_with_what_it_stands_on(folder):
    base = folder.publish(3)
    current = folder.append(5)
    for damaged in (base, current):
        (folder.path / damaged / "images.id_bytes.npy").write_bytes(b"x")
    assert prune(folder.snapshots, 0) == []
    assert folder.publish(6) == folder.snapshots.current()
    assert prune(folder.snapshots, 3) == [current, base]


def test_there_is_nothing_to_remove_where_nothing_was_published(folder):
    assert prune(folder.snapshots, 0) == []
