"""The start of a command removes what killed ones left, wherever that may be, and nothing that a living one has."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from kg_service.api.application import create_app
from kg_service.app.sweep import sweep
from kg_service.cli.main import main
from kg_service.config import load_settings
from kg_service.graph import open_store
from kg_service.storage.scratch import PREFIX, new_folder
from support.deaths import in_child
from support.service import run

LEAVES_SCRATCH = """
import os, signal, sys
from contextlib import ExitStack
from pathlib import Path
from kg_service.storage.scratch import new_file, new_folder
from kg_service.storage.sweeping import noted
data, outside = map(Path, sys.argv[1:])
with ExitStack() as stack:
    for folder in (data, data / "snapshots", data / "jobs", data / "mirror", outside / "keys", outside / "of the prior"):
        (stack.enter_context(new_folder(folder)) / "file").write_bytes(b"x")
        stack.enter_context(new_file(folder))
    stack.enter_context(noted(outside, data))
    (stack.enter_context(new_folder(outside)) / "file").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def scratch_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(f"{PREFIX}*"))


@pytest.fixture
def left(tmp_path):
    """A data folder and one outside of it, with what a killed process left in all places."""
    data, outside = tmp_path / "data", tmp_path / "outside"
    killed = subprocess.run([sys.executable, "-c", LEAVES_SCRATCH, data, outside], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(scratch_in(tmp_path)) == 14
    return data, outside


def settings_of(data, outside):
    return load_settings(data=data, keys_file=outside / "keys" / "keys.json", linker_prior=outside / "of the prior" / "prior")


def test_it_goes_from_all_places(left, tmp_path):
    sweep(settings_of(*left))
    assert scratch_in(tmp_path) == []


def test_what_a_living_process_has_stays(left, tmp_path):
    with new_folder(left[0] / "snapshots") as mine:
        (mine / "file").write_bytes(b"x")
        sweep(settings_of(*left))
        assert scratch_in(tmp_path) == [f"data/snapshots/{mine.parent.name}"]
        assert (mine / "file").exists()


def test_what_version_0_1_0_left_goes_from_the_folders_of_the_service(tmp_path):
    for folder in (tmp_path, tmp_path / "snapshots", tmp_path / "jobs", tmp_path / "other"):
        (folder / ".new.abcd1234" / "file").mkdir(parents=True)
    sweep(load_settings(data=tmp_path))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob(".new.*")] == ["other/.new.abcd1234"]


@pytest.mark.parametrize("command", [["keys", "list"], ["snapshot", "list"]], ids=" ".join)
def test_every_command_begins_with_it(left, command):
    data, outside = left
    names = {"KG_KEYS_FILE": outside / "keys" / "keys.json", "KG_LINKER_PRIOR": outside / "of the prior" / "prior"}
    run(*command, settings={"KG_DATA": str(data)} | {name: str(path) for name, path in names.items()})
    assert scratch_in(Path(os.path.commonpath(left))) == []


def test_the_service_begins_with_it(left):
    with TestClient(create_app(settings_of(*left))):
        assert scratch_in(Path(os.path.commonpath(left))) == []


def test_what_a_killed_export_left_beside_its_folder_goes_with_the_next_command(tmp_path, monkeypatch):
    data, outside = tmp_path / "data", tmp_path / "outside"
    data.mkdir()
    with closing(open_store(str(data / "graph.sqlite"))):
        pass
    monkeypatch.setattr("kg_service.graph.exports.tables.install", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert in_child(lambda: main(["export", "parquet", str(outside / "files"), "--data", str(data)])) == -signal.SIGKILL
    assert len(scratch_in(outside)) == 1
    sweep(load_settings(data=data))
    assert scratch_in(tmp_path) == []
