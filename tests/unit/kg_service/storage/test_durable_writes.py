"""What is written is on the disk before it has its name, and the name before the call returns."""

import os
from pathlib import Path

import pytest
from kg_service.storage.durable import install, new_folder, write_file
from support.deaths import deaths_of


@pytest.fixture
def steps(monkeypatch):
    """What was flushed or renamed, in order: (call, the file's inode and size, or where it was renamed to)."""
    made = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def flush(descriptor):
        status = os.fstat(descriptor)
        made.append(("fsync", status.st_ino, status.st_size))
        fsync(descriptor)

    def move(real):
        def call(source, target):
            made.append(("rename", Path(source).stat().st_ino, str(target)))
            real(source, target)

        return call

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "rename", move(rename))
    monkeypatch.setattr(os, "replace", move(replace))
    return made


def test_a_file_is_flushed_whole_then_renamed_then_its_folder_is_flushed(tmp_path, steps):
    path = tmp_path / "file"
    write_file(path, b"content")
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert [(call, inode) for call, inode, _ in steps] == [("fsync", file), ("rename", file), ("fsync", folder)]
    assert (steps[0][2], steps[1][2]) == (len(b"content"), str(path))


def test_a_folder_is_flushed_with_all_its_files_then_renamed_then_its_parent_is_flushed(tmp_path, steps):
    with new_folder(tmp_path) as scratch:
        inodes = [scratch.stat().st_ino]
        for name in ("a", "b"):
            (scratch / name).write_bytes(b"content")
            inodes.append((scratch / name).stat().st_ino)
        install(scratch, tmp_path / "target")
    at = [call for call, *_ in steps].index("rename")
    assert {inode for _, inode, _ in steps[:at]} == set(inodes)
    assert steps[at] == ("rename", inodes[0], str(tmp_path / "target"))
    assert ("fsync", tmp_path.stat().st_ino) in [step[:2] for step in steps[at + 1 :]]


def test_dying_at_any_write_leaves_the_old_content_or_the_new(tmp_path, record_property):
    def prepare(call):
        path = tmp_path / str(call)
        path.write_bytes(b"old")
        return lambda: write_file(path, b"new")

    found = [(tmp_path / str(call)).read_bytes() for call in deaths_of(prepare)]
    assert found == [b"old", b"old", b"new"]
    record_property("deaths", len(found))
    assert not list(tmp_path.glob(".*"))
