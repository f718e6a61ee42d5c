import os
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from kg_service.batch.local import run_here
from support.waiting import eventually
from support.work import fails_of_three, sleeps_but_for_0, twice, twice_unless_odd


def test_each_shard_is_done_once_by_any_number_of_processes():
    for workers in (1, 3):
        assert sorted(run_here(twice, range(7), workers)) == [(number, 2 * number) for number in range(7)]
    assert list(run_here(twice, [], 2)) == []


def test_only_the_shard_whose_process_died_goes_with_it():
    found = dict(run_here(twice_unless_odd, range(6), 2))
    assert found == {0: 0, 1: None, 2: 4, 3: None, 4: 8, 5: None}


def test_what_is_raised_ends_all():
    with pytest.raises(ValueError, match="3"):
        list(run_here(fails_of_three, range(1_000), 2))


def test_who_closes_it_does_not_wait_for_what_is_in_work(tmp_path):
    with closing(run_here(partial(sleeps_but_for_0, tmp_path), range(3), 2)) as running:
        assert next(running) == (0, None)
    assert not _lives(int((tmp_path / "1").read_text()))


def test_processes_end_with_the_one_that_started_them(tmp_path):
    script = (
        "from functools import partial; from pathlib import Path; from support.work import sleeps_in\n"
        "from kg_service.batch.local import run_here\n"
        f"if __name__ == '__main__': list(run_here(partial(sleeps_in, Path({str(tmp_path)!r})), range(2), 2))"
    )
    path = os.pathsep.join(["tests", *sys.path])
    with subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": path}) as driver:
        eventually(lambda: all((tmp_path / f"{number}").exists() for number in range(2)), 30)
        driver.kill()
    workers = [int((tmp_path / f"{number}").read_text()) for number in range(2)]
    eventually(lambda: not any(map(_lives, workers)), 10)


def _lives(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
