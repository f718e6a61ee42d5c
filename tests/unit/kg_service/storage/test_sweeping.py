"""Scratch: held while its process lives, swept when that was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kg_service.storage.scratch import new_file, new_folder
from kg_service.storage.sweeping import noted, sweep

FILLS_ONE = """
import sys, time
from pathlib import Path
from kg_service.storage.scratch import new_file, new_folder
from kg_service.storage.sweeping import noted
folder, elsewhere = map(Path, sys.argv[1:])
with noted(elsewhere, folder), new_folder(folder) as place, new_file(folder) as (path, stream), new_folder(elsewhere) as other:
    for each in (place, other):
        (each / "large").write_bytes(b"x")
    print(place / "large", path, other / "large", sep="\\n", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_fills_is_not(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for each in (folder, elsewhere):
        each.mkdir()
    with subprocess.Popen([sys.executable, "-c", FILLS_ONE, folder, elsewhere], stdout=subprocess.PIPE, text=True) as process:
        filled = [Path(process.stdout.readline().strip()) for _ in range(3)]
        sweep(folder)
        held = [path.exists() for path in filled]
        process.kill()
    assert held == [True] * 3
    assert [path.exists() for path in filled] == [True] * 3
    sweep(folder)
    assert [*folder.iterdir(), *elsewhere.iterdir()] == []


def test_only_scratch_is_swept(tmp_path):
    for name in (".kg-new.1", ".new.1", ".other", "kept"):
        (tmp_path / name / "in it").mkdir(parents=True)
    (tmp_path / ".kg-new.2").write_text("a file")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.1", ".other", "kept"]
    sweep(tmp_path / "nothing")


def test_what_is_beyond_a_link_is_not_swept(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere" / "file").mkdir(parents=True)
    (tmp_path / "folder" / ".kg-new.1").symlink_to(tmp_path / "elsewhere")
    sweep(tmp_path / "folder")
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


@pytest.mark.parametrize(("make", "name"), [(new_folder, "mkdtemp"), (new_file, "mkstemp")])
def test_scratch_that_is_swept_before_it_is_held_is_made_again(tmp_path, monkeypatch, make, name):
    real, made = getattr(tempfile, name), []

    def swept_at_once(**options):
        made.append(real(**options))
        if len(made) == 1:
            sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr(tempfile, name, swept_at_once)
    with make(tmp_path):
        sweep(tmp_path)
        assert len(made) == 2
        assert len(list(tmp_path.iterdir())) == 1


def test_nothing_is_noted_where_there_is_no_home(tmp_path):
    with noted(tmp_path, tmp_path / "nothing"):
        assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_not_renamed_is_removed(tmp_path):
    def fail(stream):
        stream.write(b"content")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), new_file(tmp_path) as (path, stream):
        fail(stream)
    assert not path.exists()
    with new_file(tmp_path) as (path, stream):
        os.replace(path, tmp_path / "file")  # noqa: PTH105
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
