"""The recorded folders, each copied before it is opened; and the commands as they are installed, run in this process."""

from __future__ import annotations

import logging
import shutil
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import structlog
from compatibility.ages import restore_ages

VERSIONS = sorted(folder.parent for folder in Path(__file__).parent.glob("*/wire"))


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda folder: folder.name)
def recorded(request):
    """The folder of a version."""
    return request.param


@pytest.fixture
def copied(recorded, tmp_path, monkeypatch):
    """A copy of it, in which paths are relative."""
    folder = Path(shutil.copytree(recorded, tmp_path / "copy"))
    restore_ages(recorded, folder / "data")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command as its name on the path would: exit status, standard output, standard error."""
    for name in ("KG_DATA", "KG_LINKER_PRIOR", "NBCLIP_SERVICE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name, *arguments):
        (entry,) = entry_points(group="console_scripts", name=name)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            entry.load()()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    yield run
    # The commands set the process's logging.
    structlog.reset_defaults()
    logging.basicConfig(handlers=[logging.NullHandler()], force=True)


@pytest.fixture
def kg(command):
    """What `kg-service` prints; it must end well."""

    def run(*arguments):
        code, out, err = command("kg-service", *arguments)
        assert code == 0, err
        return out.strip()

    return run


@pytest.fixture
def nbclip(command):
    """What `nbclip` prints; it must end well."""

    def run(*arguments):
        code, out, err = command("nbclip", *arguments)
        assert code == 0, err
        return out.strip()

    return run
