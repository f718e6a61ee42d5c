"""`kg-service batch run`, or a process of it, is killed at random instants: the next run goes on, and the bytes are the same."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.batches import contents, done
from support.counts import often
from support.service import COMMAND, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(often(300, 1_800))]
CAPTIONS = Path(__file__).parents[2] / "examples" / "radiology-open" / "metadata.csv"
KILLS = often(2, 24)
LOOKS_EVERY_S = 0.01


def workers_of(process):
    """Processes that link for it."""
    with suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return []


def test_a_batch_that_is_killed_again_and_again_gives_what_one_gives_that_is_not(data, tmp_path, chance, record_property):
    settings = {"KG_DATA": str(data)}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run("batch", "plan", CAPTIONS, whole, "--shard-rows", 4_042 // (2 * KILLS), settings=settings)[0] == 0
    shutil.copytree(whole, killed)
    assert run("batch", "run", whole, settings=settings)[0] == 0
    command = [*COMMAND, "batch", "run", str(killed), "--workers", "2"]
    for number in range(KILLS):
        before = done(killed)
        with subprocess.Popen(command, env=environment(settings), stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and len(done(killed)) == len(before):
                time.sleep(LOOKS_EVERY_S)
            time.sleep(chance.uniform(0, 0.2))
            doomed = workers_of(process) if number % 2 else []
            with suppress(ProcessLookupError):
                os.kill(chance.choice(doomed or [process.pid]), signal.SIGKILL)
            if doomed:
                # What it had in work is begun again, by another process.
                assert process.wait() == 0
        assert done(killed).items() >= before.items()
        if number % 2:
            for name in chance.sample(sorted(done(killed)), len(done(killed)) // 2):
                (killed / "done" / name).unlink()
    assert run("batch", "run", killed, settings=settings)[0] == 0
    assert contents(killed) == contents(whole)
    assert not list(killed.rglob(".kg-new.*"))
    record_property("kills of a batch", KILLS)
