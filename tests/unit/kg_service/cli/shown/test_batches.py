"""What a batch says on a terminal, and in a job's log."""

import io

import pytest
from kg_service.batch.records import Done, Failed
from kg_service.batch.run import Ended
from kg_service.batch.state import State
from kg_service.cli.shown import batches
from kg_service.cli.shown.batches import failures, shard_progress, state_lines
from rich.console import Console
from rich.progress import Progress, TextColumn


def done(rows, cpu_s, wall_s):
    return Done(
        plan="", images=rows, bad_rows=0, kinds={}, without_cuis=0, unknown_cuis={}, files=[], cpu_s=cpu_s, wall_s=wall_s, ended=0
    )


def missing(file):
    return Failed(plan="", reason=f"can't read {file}: No such file", hint="check the path")


FAILED = {3: missing("b.csv"), 0: missing("a.csv"), 1: missing("a.csv"), 2: missing("a.csv")}
PLACES = {0: "a.csv:1-5", 1: "a.csv:6-10", 2: "a.csv:11-15", 3: "b.csv:1-5"}


def test_shards_that_failed_for_one_reason_are_one_line():
    assert list(failures(FAILED, PLACES.__getitem__)) == [
        ("3 shards, of a.csv:1-5 and on", "can't read a.csv: No such file", "check the path"),
        ("shard 3, b.csv:1-5", "can't read b.csv: No such file", "check the path"),
    ]


def test_status_names_a_file_once(tmp_path):
    lines = list(state_lines(State(4, 20, {}, FAILED, PLACES, ()), tmp_path))
    assert lines[1:3] == [
        "3 shards failed, of a.csv:1-5 and on: can't read a.csv: No such file; check the path",
        "shard 3 failed, b.csv:1-5: can't read b.csv: No such file; check the path",
    ]


@pytest.mark.parametrize(
    ("records", "waits"),
    [
        ([done(10, 3.0, 4.0), done(10, 1.0, 4.0)], "waits 50%"),
        ([done(10, 3.0, 2.0)], "waits 0%"),
        ([done(10, 3.0, 0.0)], "waits 0%"),
        ([missing("a.csv"), done(10, 1.0, 4.0)], "waits 75%"),
    ],
)
def test_waits_are_the_share_of_time_that_no_process_computed(monkeypatch, records, waits):
    monkeypatch.setattr(batches, "_SAID_EVERY_S", 0.0)
    said = io.StringIO()
    progress = Progress(TextColumn("{task.description}"), console=Console(file=said, width=200), disable=True)
    show = shard_progress(progress, "work", 100)
    show(Ended(7, done(50, 0.0, 1_000.0), 50, before=True))
    rows = 50
    for number, record in enumerate(records):
        rows += record.rows if isinstance(record, Done) else 0
        show(Ended(number, record, rows))
    assert f"/s, {waits}, " in said.getvalue().splitlines()[-1]
    assert waits in progress.tasks[0].description
