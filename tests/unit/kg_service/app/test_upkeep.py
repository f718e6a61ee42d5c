"""Upkeep meets files that it can't read, errors that nobody foresaw, and a turn that does not end."""

import os
import signal
import threading
import time
from contextlib import closing

import pytest
import structlog
from kg_service.app.upkeep import Upkeep, _Process
from kg_service.config import Settings
from support.waiting import eventually


@pytest.fixture
def upkeep(tmp_path, monkeypatch):
    monkeypatch.setattr("kg_service.app.upkeep._LOOKS_EVERY_S", 0.01)
    with closing(Upkeep(Settings(data=tmp_path, compact_after=0.2))) as upkeep:
        yield upkeep


def turned(upkeep):
    """Waits for two whole turns."""
    before = upkeep._turned_at
    eventually(lambda: upkeep._turned_at > before, 20)
    between = upkeep._turned_at
    eventually(lambda: upkeep._turned_at > between, 20)


def test_it_turns_and_nothing_is_wrong(upkeep):
    assert upkeep.failure() == "its thread does not run"
    upkeep.start()
    turned(upkeep)
    assert upkeep.failure() is None
    upkeep.close()
    assert upkeep.failure() == "its thread does not run"


def test_an_error_that_nobody_foresaw_is_logged_once_and_goes_when_its_cause_goes(upkeep, tmp_path):
    """A pointer that is no text: decoding it is no error that upkeep knows of."""
    (tmp_path / "snapshots").mkdir()
    pointer = tmp_path / "snapshots" / "CURRENT"
    pointer.write_bytes(b"\xff")
    with structlog.testing.capture_logs() as logged:
        upkeep.start()
        turned(upkeep)
        assert upkeep.failure() is None
        assert upkeep.trouble().startswith("compaction: UnicodeDecodeError: ")
        turned(upkeep)
    (line,) = [line for line in logged if line["event"].startswith("upkeep failed")]
    assert (line["part"], line["reason"]) == ("compaction", upkeep.trouble().removeprefix("compaction: "))
    assert isinstance(line["exc_info"], UnicodeDecodeError)
    pointer.unlink()
    turned(upkeep)
    assert upkeep.trouble() is None


def test_a_part_that_fails_keeps_no_other_from_its_work(upkeep, tmp_path, monkeypatch):
    """The jobs can't be listed; what is compacted is looked for all the same."""
    seen = threading.Event()
    monkeypatch.setattr(upkeep._snapshots, "current", seen.set)
    (tmp_path / "jobs").mkdir()
    monkeypatch.setattr("kg_service.app.upkeep.has_work", lambda jobs, _: (jobs / "none").stat())
    upkeep.start()
    assert seen.wait(20)
    turned(upkeep)
    assert upkeep.failure().startswith(f"bulk ingest: {tmp_path / 'jobs' / 'none'}: No such file or directory")
    assert upkeep.trouble() is None


def test_a_turn_that_does_not_end_is_said(upkeep, monkeypatch):
    begun, let_go = threading.Event(), threading.Event()

    def hang(*_):
        begun.set()
        let_go.wait(60)

    monkeypatch.setattr("kg_service.app.upkeep.has_work", hang)
    monkeypatch.setattr("kg_service.app.upkeep._LATE_S", 0.05)
    upkeep.start()
    try:
        assert begun.wait(20)
        eventually(lambda: (upkeep.failure() or "").startswith("no turn for "), 20)
    finally:
        let_go.set()


def _sleep(settings):
    time.sleep(300)


@pytest.mark.parametrize(
    ("signum", "said"),
    [(signal.SIGTERM, ("info", "publication was stopped")), (signal.SIGKILL, ("warning", "publication failed"))],
)
def test_work_that_was_stopped_has_not_failed(tmp_path, signum, said):
    work = _Process("publication", _sleep, Settings(data=tmp_path))
    work.start()
    with structlog.testing.capture_logs() as logged:
        os.kill(work._process.pid, signum)
        eventually(work.idle, 20)
    (line,) = logged
    assert (line["log_level"], line["event"]) == said
