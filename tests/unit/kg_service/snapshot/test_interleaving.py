"""Publishing, appending, compacting and pruning at once, at the points where one could undo the other."""

import os
import signal
import subprocess
import sys
from threading import Event, Thread

import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder, pruning, publication
from kg_service.snapshot import append as appending
from kg_service.snapshot.append import append
from kg_service.snapshot.pruning import prune
from kg_service.snapshot.publication import compact
from kg_service.storage.artefact import MANIFEST
from kg_service.storage.scratch import CONTENT
from kg_service.storage.sweeping import sweep
from support.small_graphs import GraphOnly, graph_of

ROWS = [[0], [0, 1], [1, 2], [2], [0, 2], [1]]


def graph(images):
    return GraphOnly(graph_of(ROWS[:images], count=3))


def publish(path, images, vocabulary=None):
    return publication.publish(graph(images), path, vocabulary=vocabulary or {}, representations={"hybrid": Hybrid()})


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    for module in (appending, pruning):
        monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    return SnapshotFolder(tmp_path)


@pytest.fixture
def beside(monkeypatch):
    """Runs a function in a thread of its own, from where it asks for the folder on; waits for its end when the test ends."""
    threads, ended_well = [], []

    def beside(module, function, *arguments):
        asks, real = Event(), module.locked

        def asked(*where):
            asks.set()
            return real(*where)

        def run():
            try:
                function(*arguments)
                ended_well.append(True)
            finally:
                asks.set()

        with monkeypatch.context() as patch:
            patch.setattr(module, "locked", asked)
            threads.append(Thread(target=run))
            threads[-1].start()
            assert asks.wait(60)

    def ended():
        for thread in threads:
            thread.join(60)
        assert len(ended_well) == len(threads) > 0

    beside.ended = ended
    yield beside
    for thread in threads:
        thread.join(60)


def once(monkeypatch, module, name, first):
    """Does something before the first call of a function of a module."""
    real = getattr(module, name)

    def called(*arguments, **options):
        monkeypatch.setattr(module, name, real)
        first()
        return real(*arguments, **options)

    monkeypatch.setattr(module, name, called)


def test_a_publication_during_an_append_is_the_current_one_afterwards(snapshots, beside, monkeypatch):
    publish(snapshots.path, 2)
    once(monkeypatch, appending, "append_new", lambda: beside(publication, publish, snapshots.path, 3, {"release": "other"}))
    append(graph(4), snapshots)
    beside.ended()
    assert snapshots.open().manifest.vocabulary == {"release": "other"}


def test_an_append_during_a_publication_goes_on_top_of_it(snapshots, beside, monkeypatch):
    publish(snapshots.path, 2)
    once(monkeypatch, publication, "write_file", lambda: beside(appending, append, graph(4), snapshots))
    published = publish(snapshots.path, 3, {"release": "other"})
    beside.ended()
    current = snapshots.open()
    assert (current.manifest.appended.base, len(current)) == (published, 4)


def test_what_is_about_to_be_current_is_not_pruned(snapshots, beside, monkeypatch):
    publish(snapshots.path, 2)
    once(monkeypatch, publication, "write_file", lambda: beside(pruning, prune, snapshots, 0))
    published = publish(snapshots.path, 3)
    beside.ended()
    assert snapshots.ids() == [published]
    snapshots.verify(published)


def test_what_is_held_already_and_pruned_before_it_is_current_is_installed_again(snapshots, monkeypatch):
    first, second = publish(snapshots.path, 2), publish(snapshots.path, 3)
    removed = []
    once(monkeypatch, publication, "locked", lambda: removed.extend(prune(snapshots, 0)))
    assert publish(snapshots.path, 2) == first
    assert removed == [first]
    assert snapshots.ids() == [first, second]
    snapshots.verify(first)


def test_what_is_published_again_is_the_newest(snapshots):
    first, second, third = (publish(snapshots.path, images) for images in (2, 3, 4))
    for age, each in enumerate((first, second, third)):
        os.utime(snapshots.path / each / MANIFEST, (age, age))
    publish(snapshots.path, 2)
    publish(snapshots.path, 4)
    assert prune(snapshots, 1) == [second]
    assert snapshots.ids() == [third, first]


@pytest.mark.parametrize("point", ["locked", "append_new"])
def test_a_compaction_is_not_pruned(snapshots, beside, monkeypatch, point):
    base = publish(snapshots.path, 2)
    append(graph(3), snapshots)
    if point == "locked":
        once(monkeypatch, publication, "locked", lambda: prune(snapshots, 0))
    else:
        once(monkeypatch, publication, "append_new", lambda: beside(pruning, prune, snapshots, 0))
    compacted = compact(graph(3), snapshots, vocabulary={})
    if point != "locked":
        beside.ended()
    assert compacted == snapshots.current() != base
    snapshots.verify(compacted)


KILLED = """
import os, signal, sys
from pathlib import Path
from kg_service.snapshot import preparation, publication
from support.small_graphs import GraphOnly, graph_of
preparation.Prepared.install = lambda self, **_: os.kill(os.getpid(), signal.SIGKILL)
publication.publish(GraphOnly(graph_of([[0], [1], [0, 1], [0]])), Path(sys.argv[1]), vocabulary={})
"""


def test_what_a_killed_publication_left_is_swept(snapshots):
    publish(snapshots.path, 2)
    before = set(snapshots.path.iterdir())
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", KILLED, snapshots.path], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = set(snapshots.path.iterdir()) - before
    assert (left / CONTENT / MANIFEST).exists()
    sweep(snapshots.path)
    assert set(snapshots.path.iterdir()) == before
