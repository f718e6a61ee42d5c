"""A worker, a raylet, a node, the head or the driver is killed at random: the next run goes on, and the bytes are the same."""

import csv
import os
import shutil
import signal
from pathlib import Path

import pytest
from support.batches import contents, done
from support.counts import often
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]
KILLS = often(1, 5)
ENDS_WITHIN_S = 300
ROWS = 8_000
SHARD_ROWS = 50
CAPTIONS = Path(__file__).parents[3] / "examples" / "radiology-open" / "metadata.csv"


def kill(victim, nodes, driver):
    """Kills it; with which status the command may end then. Without a head it ends well if the nodes have all that is left."""
    match victim:
        case "driver":
            driver.kill()
            return {-signal.SIGKILL}
        case "node":
            nodes.kill("two")
            return {0}
    names = {"head": ("gcs_server",), "raylet": ("raylet",), "worker": ("ray::_on_node", "ray::IDLE")}[victim]
    found = []

    def runs():
        running = nodes.processes("one" if victim == "head" else "two")
        found[:] = [process for process, name in running.items() if name in names]
        return found

    eventually(runs, 30)  # a node may be between two tasks
    os.kill(found[0], signal.SIGKILL)
    return {0, 75} if victim == "head" else {0}


@pytest.fixture
def captions(tmp_path):
    """So many captions of the examples, under new ids, that no process dies after the work is done."""
    with CAPTIONS.open(newline="") as file:
        texts = [row["caption"] for row in csv.DictReader(file)]
    path = tmp_path / "captions.csv"
    with path.open("w", newline="") as file:
        rows = ((f"image-{number}", texts[number % len(texts)]) for number in range(ROWS))
        csv.writer(file).writerows([("image_id", "caption"), *rows])
    return path


@pytest.fixture
def whole(nodes):
    """Makes the cluster whole again, in which a victim died."""

    def mend(victim):
        if victim == "head":
            nodes.close()
            nodes.start("one")
        if victim in ("head", "node", "raylet"):
            nodes.kill("two")
            nodes.start("two")

    nodes.start("two")
    yield mend
    nodes.kill("two")


@pytest.mark.parametrize("victim", ["worker", "raylet", "node", "head", "driver"])
def test_whoever_is_killed_nothing_that_is_done_is_lost_or_done_again(
    victim, plan, captions, start, nodes, whole, chance, tmp_path, record_property
):
    folder = plan("whole", captions, rows=SHARD_ROWS)
    killed = shutil.copytree(folder, tmp_path / "killed")
    with start(folder, "--workers", "2") as process:
        assert process.wait(ENDS_WITHIN_S) == 0
    again = 0
    for _ in range(KILLS):
        before = done(killed)
        due = ROWS // SHARD_ROWS - len(before)
        enough = len(before) + chance.randint(1, due // 3)
        with start(killed, "--ray", nodes.address, **nodes.environment) as driver:
            eventually(lambda: len(done(killed)) >= enough, ENDS_WITHIN_S)  # noqa: B023
            assert driver.poll() is None
            statuses = kill(victim, nodes, driver)
            assert driver.wait(ENDS_WITHIN_S) in statuses, driver.stderr.read()
        after = done(killed)
        again += sum(after.get(name) != at for name, at in before.items())
        for name in chance.sample(sorted(after), len(after) // 2):
            (killed / "done" / name).unlink()
        whole(victim)
    with start(killed, "--ray", nodes.address, **nodes.environment) as driver:
        assert driver.wait(ENDS_WITHIN_S) == 0, driver.stderr.read()
    assert contents(killed) == contents(folder)
    assert again == 0
    record_property("kills on a Ray cluster", KILLS)
    record_property("shards done again", again)
