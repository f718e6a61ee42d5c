"""What is written is on the disk before it has its name, and the name before the call returns; a death leaves one of both."""

import os
from pathlib import Path

import pytest
from kg_service.storage.exchange import exchange
from kg_service.storage.locks import locked
from kg_service.storage.replacement import install, remove_folder, write_file
from kg_service.storage.scratch import new_folder
from kg_service.storage.sweeping import sweep
from nbclip.errors import os_reason
from support.deaths import deaths_of

OLD, NEW = ({name: f"{age} {name}" for name in names} for age, names in (("old", "abc"), ("new", "bcde")))


def fill(folder, content):
    for name, text in content.items():
        (folder / name).write_text(text)


def content_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.exists() else None


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


@pytest.fixture(params=["exchanges", "renames"])
def file_system(request, monkeypatch):
    """One that exchanges folders, and one that can't, such as NFS."""
    if request.param == "renames":
        monkeypatch.setattr("kg_service.storage.replacement.exchange", lambda one, other: False)
    return request.param


def test_a_file_is_flushed_whole_then_renamed_then_its_folder_is_flushed(tmp_path, steps):
    path = tmp_path / "file"
    write_file(path, b"content")
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert [(call, inode) for call, inode, _ in steps] == [("fsync", file), ("rename", file), ("fsync", folder)]
    assert (steps[0][2], steps[1][2]) == (len(b"content"), str(path))
    assert path.stat().st_mode & 0o777 == 0o600


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


def test_dying_at_any_write_of_a_file_leaves_the_old_content_or_the_new(tmp_path, record_property):
    def prepare(call):
        folder = tmp_path / str(call)
        folder.mkdir()
        (folder / "file").write_bytes(b"old")
        return lambda: write_file(folder / "file", b"new")

    found = []
    for call in deaths_of(prepare):
        sweep(tmp_path / str(call))
        found.append({path.name: path.read_bytes() for path in (tmp_path / str(call)).iterdir()})
    assert found == [{"file": b"old"}, {"file": b"old"}, {"file": b"new"}]
    record_property("deaths", len(found))


@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
def test_dying_at_any_write_of_a_folder_leaves_the_old_one_or_the_new(tmp_path, file_system, before, record_property):
    def write(target):
        with new_folder(target.parent) as folder:
            fill(folder, NEW)
            install(folder, target)

    def prepare(call):
        target = tmp_path / str(call) / "target"
        target.parent.mkdir()
        if before:
            target.mkdir()
            fill(target, before)
        return lambda: write(target)

    at_once, found = [], []
    for call in deaths_of(prepare):
        at_once.append(content_of(tmp_path / str(call) / "target"))
        sweep(tmp_path / str(call))
        found.append(content_of(tmp_path / str(call) / "target"))
        assert len(list((tmp_path / str(call)).iterdir())) == (found[-1] is not None)
    change = found.index(NEW)
    assert found == [before] * change + [NEW] * (len(found) - change)
    if file_system == "exchanges":
        assert at_once == found
    record_property("deaths", len(found))


def test_dying_at_any_write_of_a_removal_leaves_all_of_a_folder_or_nothing(tmp_path, record_property):
    def prepare(call):
        target = tmp_path / str(call) / "target"
        target.mkdir(parents=True)
        fill(target, OLD)
        return lambda: remove_folder(target)

    found = []
    for call in deaths_of(prepare):
        found.append(content_of(tmp_path / str(call) / "target"))
        sweep(tmp_path / str(call))
        assert content_of(tmp_path / str(call) / "target") == found[-1]
        assert len(list((tmp_path / str(call)).iterdir())) == (found[-1] is not None)
    change = found.index(None)
    assert found == [OLD] * change + [None] * (len(found) - change)
    record_property("deaths", len(found))


def test_what_was_replaced_and_removed_since_does_not_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr("kg_service.storage.replacement.exchange", lambda one, other: False)
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)  # as if it had been killed before
    with new_folder(tmp_path) as folder:
        install(folder, target)
    monkeypatch.undo()
    target.rmdir()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_stood_there_stays_where_the_new_one_can_not_take_its_place(tmp_path, monkeypatch, file_system):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    def refuse_the_new_one(source, *where):
        return refuse() if Path(source) == folder else rename(source, *where)

    target, rename = tmp_path / "target", os.rename
    target.mkdir()
    fill(target, OLD)
    if file_system == "exchanges":
        monkeypatch.setattr("kg_service.storage.replacement.exchange", refuse)
    monkeypatch.setattr(os, "rename", refuse_the_new_one)
    with new_folder(tmp_path) as folder, pytest.raises(OSError, match="No space"):
        install(folder, target)
    assert content_of(target) == OLD
    assert list(tmp_path.iterdir()) == [target]


def test_two_folders_change_places(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, content in ((one, OLD), (other, NEW)):
        folder.mkdir()
        fill(folder, content)
    assert exchange(one, other)
    assert (content_of(one), content_of(other)) == (NEW, OLD)


def test_a_system_that_can_not_exchange_is_told_from_an_exchange_that_fails(tmp_path):
    inside = tmp_path / "folder" / "inside"
    inside.mkdir(parents=True)
    assert not exchange(inside.parent, inside)  # EINVAL, which is what file systems say that lack it
    with pytest.raises(FileNotFoundError):
        exchange(inside, tmp_path / "nothing")


def test_what_can_not_be_written_is_named_and_not_the_scratch_beside_it(tmp_path):
    nowhere = tmp_path / "nowhere" / "x.bin"
    with pytest.raises(FileNotFoundError) as refused:
        write_file(nowhere, b"")
    assert os_reason(refused.value) == f"{nowhere}: No such folder"
    with pytest.raises(FileNotFoundError) as refused, new_folder(Path("/proc")):  # where nobody can make a folder
        pass
    assert os_reason(refused.value).startswith("/proc: ")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError) as refused, locked(tmp_path / "file", 0, name=".keys.lock"):
        pass
    assert os_reason(refused.value) == f"{tmp_path / 'file'}: File exists"


def test_an_error_without_a_number_says_what_it_said():
    assert os_reason(OSError("not gzipped")) == "not gzipped"
    assert os_reason(PermissionError(13, "Permission denied", "/data")) == "/data: Permission denied"
