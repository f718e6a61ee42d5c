"""The file that names the current snapshot: seen at once, and within a second where attributes are old."""

import os

import pytest
from kg_service.snapshot import pointer as module
from kg_service.snapshot.pointer import Pointer
from kg_service.storage.replacement import write_file
from nbclip.errors import Unavailable


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_000.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def file(tmp_path):
    return tmp_path / "CURRENT"


def overwrite(file, content):
    """As a network file system shows it: other content, the attributes of before."""
    before = file.stat()
    with file.open("r+") as stream:
        stream.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_ino, file.stat().st_mtime_ns, file.stat().st_size) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_size,
    )


def test_what_replaces_the_file_is_seen_at_once(file, clock):
    pointer = Pointer(file)
    assert pointer.read() is None
    for content in ("one", "two", "six"):
        write_file(file, content.encode())
        assert pointer.read() == content
    file.unlink()
    assert pointer.read() is None


def test_old_attributes_are_believed_for_a_second(file, clock):
    write_file(file, b"one")
    pointer = Pointer(file)
    assert pointer.read() == "one"
    overwrite(file, "two")
    clock.now += 0.9
    assert pointer.read() == "one"
    clock.now += 0.2
    assert pointer.read() == "two"


def test_it_is_opened_once_a_second_however_often_it_is_asked(file, clock, monkeypatch):
    write_file(file, b"one")
    pointer, opened = Pointer(file), []
    really = Pointer._open
    monkeypatch.setattr(Pointer, "_open", lambda self: opened.append(clock.now) or really(self))
    for _ in range(100):
        clock.now += 0.05
        assert pointer.read() == "one"
    assert 4 <= len(opened) <= 6


def test_what_stands_in_the_way_is_named(file):
    file.mkdir()
    with pytest.raises(Unavailable, match=r"which snapshot is current: .*CURRENT: Is a directory"):
        Pointer(file).read()
