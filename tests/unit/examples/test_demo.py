"""`examples/demo.sh` stopped in the middle, with stand-ins for the commands."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.waiting import eventually

DEMO = Path(__file__).parents[3] / "examples" / "demo.sh"
SLEEPS = {"kg-service": "serve", "nbclip": "train"}


@pytest.fixture
def commands(tmp_path):
    """A folder of stand-ins: one that serves or trains notes its process, and goes on until it is ended."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, lasting in SLEEPS.items():
        script = f'[ "$1" = {lasting} ] && {{ echo $$ >{tmp_path}/{lasting}.pid; exec sleep 300; }}; exit 0'
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "curl").write_text("#!/bin/sh\nexit 0\n")
    for file in folder.iterdir():
        file.chmod(0o755)
    return folder


def lives(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_demo_that_is_stopped_leaves_neither_service_nor_training(tmp_path, commands, signum, status):
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "PORT": "1"}
    with subprocess.Popen(["bash", DEMO, tmp_path / "out"], env=environment, stdout=subprocess.DEVNULL) as demo:
        notes = [tmp_path / f"{lasting}.pid" for lasting in SLEEPS.values()]
        eventually(lambda: all(note.exists() and note.read_text() for note in notes), within_s=60)
        demo.send_signal(signum)
        assert demo.wait(30) == status
    assert [note.name for note in notes if lives(int(note.read_text()))] == []
