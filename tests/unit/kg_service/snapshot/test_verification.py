"""Large files are verified while their snapshot is served; what is damaged is refused once it is found."""

import shutil
import threading

import pytest
from kg_service.snapshot import SnapshotFolder, verification
from kg_service.snapshot.append import append
from kg_service.snapshot.publication import publish
from kg_service.snapshot.verification import first_and_later
from kg_service.storage.artefact import FileRecord
from nbclip.errors import BrokenArtefact
from support.small_graphs import GraphOnly, graph_of
from support.waiting import eventually

ROWS = [[0], [0, 1], [1, 2], [2, 3], [0, 3], [1]]
OF_BASE, OF_APPENDED = "graph.cuis.npy", "images.id_bytes.npy"


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def publish_rows(path, rows):
    return publish(GraphOnly(graph_of(rows, count=4)), path, vocabulary={})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A folder and its three snapshots: of four images, of five, and of six, which is appended to the second and current."""
    path = tmp_path_factory.mktemp("three")
    first, second = (publish_rows(path, ROWS[:images]) for images in (4, 5))
    third, _ = append(GraphOnly(graph_of(ROWS, count=4)), SnapshotFolder(path))
    return path, (first, second, third)


@pytest.fixture
def ids(tmp_path, three):
    """The ids of the three, of which each test has a copy."""
    shutil.copytree(three[0], tmp_path, dirs_exist_ok=True)
    return three[1]


@pytest.fixture
def folder(tmp_path, ids):
    """Opens the folder as a service does that verifies all files later, if not told otherwise."""
    opened = []

    def start(first_bytes=0):
        opened.append(SnapshotFolder(tmp_path, first_bytes=first_bytes))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def go_on(monkeypatch):
    """Verification waits until this is set."""
    event, before = threading.Event(), verification._give_way
    monkeypatch.setattr(verification, "_give_way", lambda: (event.wait(20), before()))
    yield event
    event.set()


def test_the_smallest_files_are_first_and_the_bound_is_of_all_together():
    files = [FileRecord(name, size, "") for name, size in (("c", 30), ("a", 10), ("d", 40), ("b", 20))]
    names = [
        ["".join(file.name for file in part) for part in first_and_later(files, bound)] for bound in (9, 10, 59, 60, 100, None)
    ]
    assert names == [["", "abcd"], ["a", "bcd"], ["ab", "cd"], ["abc", "d"], ["abcd", ""], ["abcd", ""]]


def test_it_is_served_at_once_and_verified_meanwhile(folder, ids, go_on):
    snapshots = folder()
    opened = snapshots.open()
    files = [file.bytes for each in ids[1:] for file in snapshots.manifest(each).files]
    assert (opened.id, snapshots.unverified_bytes()) == (ids[2], sum(files))
    go_on.set()
    eventually(lambda: snapshots.unverified_bytes() == 0, 10)
    assert snapshots.open() is opened


def test_below_the_bound_all_is_verified_before(folder, ids, tmp_path, go_on):
    snapshots = folder(first_bytes=1 << 20)
    assert snapshots.open().id == ids[2]
    assert snapshots.unverified_bytes() == 0
    flip(tmp_path / ids[2] / OF_APPENDED)
    assert folder(first_bytes=1 << 20).open().id == ids[1]


@pytest.mark.parametrize(("file", "damaged", "left"), [(OF_APPENDED, 2, 1), (OF_BASE, 1, 0)])
def test_damage_that_is_found_later_is_refused_from_then_on(folder, ids, tmp_path, go_on, capsys, file, damaged, left):
    path = tmp_path / ids[damaged] / file
    flip(path)
    snapshots = folder()
    assert snapshots.open().id == ids[2]
    go_on.set()
    eventually(lambda: snapshots.opened() is None, 10)
    assert (snapshots.current(), snapshots.published_last()) == (ids[left], ids[2])
    assert snapshots.open().id == ids[left]
    for _ in range(2):
        with pytest.raises(BrokenArtefact, match=f"{file} does not match its SHA-256") as error:
            snapshots.open(ids[2])
    assert "publish anew: kg-service snapshot publish" in error.value.hint
    logged = [line for line in capsys.readouterr().out.splitlines() if "snapshot damaged" in line and ids[damaged] in line]
    assert len([line for line in logged if str(path) in line and "publish anew" in line]) >= 1


def test_where_no_other_is_whole_nothing_is_given(folder, ids, tmp_path):
    for each in ids[:2]:
        flip(tmp_path / each / OF_BASE)
    snapshots = folder()

    def refused():
        try:
            snapshots.open()
        except BrokenArtefact:
            return True
        return False

    eventually(refused, 10)


def test_a_mended_one_is_verified_anew(folder, ids, tmp_path):
    path = tmp_path / ids[2] / OF_APPENDED
    flip(path)
    snapshots = folder()
    snapshots.open()
    eventually(lambda: snapshots.current() == ids[1], 10)
    flip(path)
    assert snapshots.open().id == ids[2]
    eventually(lambda: snapshots.unverified_bytes() == 0, 10)
    assert snapshots.open().id == ids[2]


def test_a_header_is_checked_before_it_is_served(folder, ids, tmp_path):
    path = tmp_path / ids[2] / "graph.attribute_indices.npy"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"'<i4'", b"'<i8'"))
    with pytest.raises(BrokenArtefact, match="is not an array") as error:
        folder().open(ids[2])
    assert "publish anew" in error.value.hint


def test_an_append_verifies_first_what_it_is_made_from(folder, ids, tmp_path, go_on):
    flip(tmp_path / ids[2] / OF_APPENDED)
    snapshots = folder()
    snapshots.open()
    with pytest.raises(BrokenArtefact, match=OF_APPENDED):
        append(GraphOnly(graph_of([*ROWS, [0, 2]], count=4)), snapshots)
    assert snapshots.open().id == ids[1]


def test_what_an_append_wrote_is_not_read_again(folder, ids, go_on):
    snapshots = folder()
    go_on.set()
    snapshots.open()
    eventually(lambda: snapshots.unverified_bytes() == 0, 10)
    go_on.clear()
    made, _ = append(GraphOnly(graph_of([*ROWS, [0, 2], [1, 3], [0, 1, 2]], count=4)), snapshots)
    assert snapshots.open().id == made not in ids
    assert snapshots.unverified_bytes() == 0


def test_one_that_was_published_anew_meanwhile_is_opened_anew(folder, ids, tmp_path, go_on):
    path = tmp_path / ids[2] / OF_APPENDED
    content = path.read_bytes()
    flip(path)
    snapshots = folder()
    damaged = snapshots.open()
    path.unlink()
    path.write_bytes(content)
    go_on.set()
    eventually(lambda: snapshots.opened() is None, 10)
    assert snapshots.open() is not damaged
    assert snapshots.current() == ids[2]


def test_a_pruned_one_is_not_called_damaged(folder, ids, tmp_path, go_on, capsys):
    snapshots = folder()
    opened = snapshots.open(ids[0])
    (tmp_path / ids[0]).rename(tmp_path / "aside")
    go_on.set()
    eventually(lambda: snapshots.unverified_bytes() == 0, 10)
    assert snapshots.open(ids[0]) is opened
    assert "damaged" not in capsys.readouterr().out


def test_what_verifies_reads_all(folder, ids, tmp_path):
    flip(tmp_path / ids[2] / OF_APPENDED)
    with pytest.raises(BrokenArtefact, match=OF_APPENDED):
        folder().verify(ids[2])
