"""Scratch folders: held while their process lives, swept when it was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kg_service.storage.durable import install, new_folder, sweep

FILLS_ONE = """
import sys, time
from pathlib import Path
from kg_service.storage.durable import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_fills_is_not(tmp_path):
    with subprocess.Popen([sys.executable, "-c", FILLS_ONE, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        folder = Path(process.stdout.readline().strip())
        sweep(tmp_path)
        held = (folder / "large").exists()
        process.kill()
    assert held
    assert folder.exists()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_scratch_is_swept(tmp_path):
    for name in (".old.1", ".new.1", ".other", "kept"):
        (tmp_path / name / "in it").mkdir(parents=True)
    (tmp_path / ".new.file").write_text("no folder")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.file", ".other", "kept"]
    sweep(tmp_path / "nothing")


def test_a_folder_that_is_swept_before_it_is_held_is_made_again(tmp_path, monkeypatch):
    real, made = tempfile.mkdtemp, []

    def swept_at_once(**options):
        made.append(real(**options))
        if len(made) == 1:
            sweep(tmp_path)
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_once)
    with new_folder(tmp_path) as folder:
        sweep(tmp_path)
        assert [str(folder)] == made[1:]
        assert folder.is_dir()


def test_what_stood_there_stays_where_the_new_one_can_not_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").write_text("old")
    real = os.rename

    def refuse(source, *where, **options):
        if Path(source) == folder:
            raise OSError(28, "No space left on device")
        return real(source, *where, **options)

    with new_folder(tmp_path) as folder:
        monkeypatch.setattr(os, "rename", refuse)
        with pytest.raises(OSError, match="No space"):
            install(folder, target)
    assert (target / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
