"""`kg-service batch run --ray`: whether a node dies or the command is interrupted, the bytes are the same."""

import csv
import re
import shutil
import signal
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kg_service.batch.graph import open_linked
from kg_service.batch.run import run
from kg_service.batch.state import state_of
from kg_service.graph import open_store
from kg_service.ingest.pipeline import ingest_file
from kg_service.ingest.readers import ReadOptions
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.storage.scratch import PREFIX
from kg_service.vocabulary.vocabulary import open_vocabulary
from support.batches import contents, in_turn, planned, small_vocabulary, some_rows
from support.ray_nodes import ray_nodes
from support.service import COMMAND, environment
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROWS, SHARD_ROWS = 400, 5
GONE = "image_id,caption\nx,pneumonia\n"
STARTS_WITHIN_S = 240


@pytest.fixture(scope="module")
def nodes():
    with ray_nodes() as started:
        started.start("one")
        started.start("two")
        yield started


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return small_vocabulary(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture
def captions(tmp_path):
    rows = some_rows(ROWS)
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "captions.csv"


@pytest.fixture
def batch(captions, vocabulary, tmp_path):
    """A batch of the captions and of a file that is gone by now."""
    (tmp_path / "gone.csv").write_text(GONE)
    made = planned(tmp_path / "work", vocabulary, [captions, tmp_path / "gone.csv"], shard_rows=SHARD_ROWS)
    (tmp_path / "gone.csv").unlink()
    return made


@pytest.fixture
def start(vocabulary, tmp_path):
    """Starts the command on a folder, in another working folder than anyone else's."""

    def begin(folder, *options, **more):
        settings = {"KG_VOCABULARY": str(vocabulary), "HOME": str(tmp_path)} | more
        command = [*COMMAND, "batch", "run", str(folder), *options]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment(settings), cwd=tmp_path, **streams)

    return begin


def done(folder):
    return len(list(folder.glob("done/*.json")))


def test_a_node_that_does_not_see_what_the_driver_sees_is_named_before_anything_is_linked(
    captions, nodes, start, vocabulary, tmp_path, monkeypatch
):
    # Where it leads depends on who asks: the driver starts in this folder, Ray's processes do not.
    monkeypatch.chdir(tmp_path)
    mine = Path("/proc/self/cwd") / captions.name
    batch = planned(tmp_path / "work", vocabulary, [mine])
    with start(batch[0].folder, "--ray", nodes.address, **nodes.environment) as driver:
        said = driver.communicate(timeout=STARTS_WITHIN_S)[1]
    assert driver.returncode == 2
    assert re.fullmatch(rf"error: node \S+ \((one|two)\) does not see {mine}\nhint: all nodes need nbclip-kg-service .*\n", said)
    assert not (batch[0].folder / "done").exists()


def test_a_node_that_is_killed_loses_nothing_and_a_shard_that_cannot_be_read_is_named(
    batch, captions, nodes, start, vocabulary, tmp_path
):
    here, there = batch[0].folder, tmp_path / "there"
    shutil.copytree(here, there)
    assert list(run(*batch, in_turn)) == [ROWS // SHARD_ROWS]
    with start(there, "--ray", nodes.address, **nodes.environment) as driver:
        eventually(lambda: done(there), STARTS_WITHIN_S)
        nodes.kill("two")
        assert done(there) < ROWS // SHARD_ROWS
        out, said = driver.communicate(timeout=STARTS_WITHIN_S)
    assert (driver.returncode, out.splitlines()[0]) == (1, f"{there}: 80 of 81 shards linked, 400 of 401 rows (100%)")
    told = [line for line in said.splitlines() if not line.startswith("there: ")]  # how far it is, where it takes long
    assert told[0].startswith(f"error: shard 80, {tmp_path / 'gone.csv'}:1-2: ")
    assert len(told) == 2
    # What the killed node was writing lies there until the next run.
    assert {name: content for name, content in contents(there).items() if not name.startswith(PREFIX)} == contents(here)
    assert state_of(there).failed == state_of(here).failed
    (tmp_path / "gone.csv").write_text(GONE)
    assert run(replace(batch[0], folder=there), batch[1], in_turn) == {}
    assert not any(name.startswith(PREFIX) for name in contents(there))
    known = open_vocabulary(vocabulary)
    with closing(open_store(str(tmp_path / "graph.sqlite"))) as store:
        for file in (captions, tmp_path / "gone.csv"):
            ingest_file(file, store, build_linker("dictionary", known), known, options=ReadOptions(), on_problem=lambda row: None)
        expected = publish(store, tmp_path / "one", vocabulary=known.describe(), hierarchy=known)
    assert publish(open_linked(there, known), tmp_path / "two", vocabulary=known.describe(), hierarchy=known) == expected


def test_a_driver_without_the_token_is_refused_in_a_line(batch, nodes, start):
    with start(batch[0].folder, "--ray", nodes.address, **nodes.environment | {"RAY_AUTH_TOKEN": "f" * 64}) as driver:
        said = driver.communicate(timeout=STARTS_WITHIN_S)[1]
    assert (driver.returncode, len(said.splitlines())) == (75, 2)
    assert f"can't use the Ray cluster {nodes.address}" in said


def test_a_cluster_of_the_command_s_own_is_interrupted_and_what_is_left_is_done_elsewhere(batch, start, tmp_path):
    folder = batch[0].folder
    with start(folder, "--ray", "local", "--workers", "2") as driver:
        eventually(lambda: done(folder), STARTS_WITHIN_S)
        driver.send_signal(signal.SIGINT)
        said = driver.communicate(timeout=STARTS_WITHIN_S)[1]
    assert driver.returncode == 130
    assert said.splitlines()[-1] == "stopped; what is done is kept; run the same command again"
    assert "Ray" not in said
    assert not (tmp_path / ".ray").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("done/*.json")}
    run(*batch, in_turn)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(contents(folder)) == 2 * ROWS // SHARD_ROWS
