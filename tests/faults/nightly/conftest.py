"""Batches of captions as commands of their own."""

import subprocess
from pathlib import Path

import pytest
from support.ray_nodes import ray_nodes
from support.service import COMMAND, environment, run

CAPTIONS = Path(__file__).parents[3] / "examples" / "radiology-open" / "metadata.csv"


@pytest.fixture
def settings(data, tmp_path):
    return {"KG_DATA": str(data), "HOME": str(tmp_path)}


@pytest.fixture
def plan(settings, tmp_path):
    """Plans files, or the example captions, in a new folder."""

    def make(name, *files, rows):
        folder = tmp_path / name
        assert run("batch", "plan", *(files or [CAPTIONS]), folder, "--shard-rows", rows, settings=settings)[0] == 0
        return folder

    return make


@pytest.fixture
def start(settings):
    """Starts `kg-service batch run` on a folder."""

    def begin(folder, *options, inside=(), **more):
        command = [*inside, *COMMAND, "batch", "run", str(folder), *options]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment(settings | more), **streams)

    return begin


@pytest.fixture(scope="module")
def nodes():
    """A Ray cluster of one node, the head."""
    with ray_nodes() as started:
        started.start("one")
        yield started
