"""Checkpoints written beside the training, at real deaths and failures too."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from nbclip_trainer.runs import writer
from nbclip_trainer.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nbclip_trainer.runs.writer import CheckpointWriter
from support.deaths import in_child


def checkpoint(step, weights=None):
    weights = torch.full((64,), float(step)) if weights is None else weights
    return Checkpoint(step, {"model.w": weights, "optimizer.w/step": torch.tensor(float(step))}, {})


@pytest.fixture
def held(monkeypatch):
    """A lock that every write waits for; `begun` says that one does."""
    gate, begun = threading.Event(), threading.Event()

    def save(run_dir, checkpoint, *, keep, best_by):
        begun.set()
        assert gate.wait(60)
        save_checkpoint(run_dir, checkpoint, keep=keep)

    monkeypatch.setattr(writer, "save_checkpoint", save)
    return gate, begun


def test_what_is_written_is_the_state_of_the_moment_of_saving(tmp_path, held):
    gate, begun = held
    weights = torch.arange(6.0).reshape(2, 3)
    with CheckpointWriter(tmp_path, keep=2) as saving:
        saving.save(checkpoint(1, weights.T))
        assert begun.wait(60)
        weights.fill_(-1)
        gate.set()
    assert load_checkpoint(tmp_path).tensors["model.w"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_one_is_written_at_a_time_and_the_next_waits_for_it(tmp_path, held):
    gate, begun = held
    with CheckpointWriter(tmp_path, keep=5) as saving, ThreadPoolExecutor() as other:
        saving.save(checkpoint(1))
        assert begun.wait(60)
        second = other.submit(saving.save, checkpoint(2))
        time.sleep(0.1)
        assert not second.done()
        gate.set()
        second.result(60)
        saving.save(checkpoint(3))
    steps = sorted(path.name for path in (tmp_path / "checkpoints").glob("*.json"))
    assert steps == [f"step-0000000{step}.json" for step in (1, 2, 3)]
    assert load_checkpoint(tmp_path).tensors["model.w"].tolist() == [3.0] * 64


def test_shapes_and_names_may_change_between_checkpoints(tmp_path):
    with CheckpointWriter(tmp_path, keep=2) as saving:
        saving.save(Checkpoint(1, {"a": torch.ones(2), "b": torch.ones(3)}, {}))
        saving.save(Checkpoint(2, {"a": torch.ones(2, 2, dtype=torch.float16), "c": torch.zeros(0)}, {}))
    found = load_checkpoint(tmp_path).tensors
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in found.items()} == {
        "a": ((2, 2), torch.float16),
        "c": ((0,), torch.float32),
    }


@pytest.mark.parametrize("found_by", ["check", "save", "wait", "the end"])
def test_a_write_that_fails_is_an_error_of_the_run(tmp_path, monkeypatch, found_by):
    def save(run_dir, checkpoint, *, keep, best_by):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "save_checkpoint", save)

    def run():
        with CheckpointWriter(tmp_path, keep=2) as saving:
            saving.save(checkpoint(1))
            while found_by == "check":
                saving.check()
            if found_by == "save":
                saving.save(checkpoint(2))
            if found_by == "wait":
                saving.wait()

    with pytest.raises(OSError, match="No space left"):
        run()


def test_what_ended_a_run_is_told_and_not_the_write_that_failed_too(tmp_path, monkeypatch):
    def save(run_dir, checkpoint, *, keep, best_by):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "save_checkpoint", save)
    with pytest.raises(RuntimeError, match="first"):
        fail_after(checkpoint(1), tmp_path)


def fail_after(saved, run_dir):
    with CheckpointWriter(run_dir, keep=2) as saving:
        saving.save(saved)
        raise RuntimeError("first")


def test_a_run_that_ends_in_an_error_leaves_the_checkpoint_it_was_writing(tmp_path):
    with pytest.raises(RuntimeError, match="first"):
        fail_after(checkpoint(1, torch.ones(1_000_000)), tmp_path)
    assert load_checkpoint(tmp_path).step == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("nth", [0, 1, 2, 3])
def test_a_process_killed_in_the_middle_of_a_write_leaves_a_whole_checkpoint(tmp_path, call, nth):
    """Whatever of the second one is on disk, the first or the second is whole and the next run sweeps the rest."""
    save_checkpoint(tmp_path, checkpoint(1), keep=2)

    def die_in_the_other_thread():
        real, left = getattr(os, call), iter(range(nth, -1, -1))

        def killed(*arguments, **options):
            if threading.current_thread() is not threading.main_thread() and next(left, None) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(os, call, killed)
        with CheckpointWriter(tmp_path, keep=2) as saving:
            saving.save(checkpoint(2, torch.ones(1_000)))

    status = in_child(die_in_the_other_thread)
    assert status in (0, -signal.SIGKILL)
    assert load_checkpoint(tmp_path).step in ((1, 2) if status else (2,))
    with CheckpointWriter(tmp_path, keep=2) as saving:
        saving.save(checkpoint(3))
    assert load_checkpoint(tmp_path).step == 3
    assert not list((tmp_path / "checkpoints").glob(".*"))
