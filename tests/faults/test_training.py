"""The service is killed under a training: the run waits and ends as if nothing had been, or stops with a checkpoint."""

import csv
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.runs.checkpoint import load_checkpoint
from nbclip_trainer.runs.tracking import read_metrics
from nbclip_trainer.training.loop import train
from PIL import Image
from support.counts import often
from support.neo4j.server import free_ports
from support.service import Service
from support.steps import overrides
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
AWAY_S = often(2, 60)
GIVES_UP_AFTER_S = 2
OUT_OF_SERVICE = 75


@pytest.fixture
def port():
    return free_ports(1)[0]


@pytest.fixture
def pairs(tmp_path, items):
    """Noise as pictures of the published images."""
    folder, generator = tmp_path / "pairs", np.random.default_rng(0)
    folder.mkdir()
    with (folder / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_id", "file", "caption", "split"])
        for number, item in enumerate(items[:48]):
            Image.fromarray(generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"{number}.png")
            rows.writerow([item.image_id, f"{number}.png", item.caption, "train" if number < 40 else "valid"])
    return folder / "pairs.csv"


def begin(run_dir, settings):
    """`nbclip train`."""
    command = [sys.executable, "-m", "nbclip_trainer", "train", "--preset", "tiny-nbclip", "--run", str(run_dir)]
    return subprocess.Popen([*command, *(part for setting in settings for part in ("--set", setting))])


def kill_in_the_middle(service, training, run_dir):
    """SIGKILL, as soon as some steps are taken."""
    eventually(lambda: training.poll() is not None or len(losses(run_dir)) > 3, 60)
    service.process.send_signal(signal.SIGKILL)
    service.process.wait()
    assert training.poll() is None


def losses(run_dir):
    metrics = read_metrics(run_dir) if (run_dir / "metrics.jsonl").exists() else []
    return [(record["step"], record["loss"]) for record in metrics if record["kind"] == "train"]


def same(run_dir, other):
    first, second = load_checkpoint(run_dir), load_checkpoint(other)
    assert losses(run_dir) == losses(other)
    assert first.step == second.step
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


def test_a_training_outlives_its_service_or_leaves_a_checkpoint(data, port, pairs, tmp_path, record_property):
    knowledge = [
        "targets.knowledge=dk_ek",
        "targets.noise=service",
        f"service.url=http://127.0.0.1:{port}",
        "data.allow_leaks=true",
        f"epochs={often(16, 40)}",
    ]
    settings = overrides(pairs, *knowledge)
    impatient = [*settings, f"service.give_up_after={GIVES_UP_AFTER_S}"]
    with closing(Service(data, {}, port=port)) as service:
        train(load_config("tiny-nbclip", settings), tmp_path / "straight")
        waiting = begin(tmp_path / "waits", settings)
        kill_in_the_middle(service, waiting, tmp_path / "waits")
        killed = time.monotonic()
        time.sleep(AWAY_S)
        assert waiting.poll() is None
    with closing(Service(data, {}, port=port)) as service:
        record_property("s without the service", round(time.monotonic() - killed))
        assert waiting.wait(240) == 0
        same(tmp_path / "waits", tmp_path / "straight")
        stopping = begin(tmp_path / "stops", impatient)
        kill_in_the_middle(service, stopping, tmp_path / "stops")
        assert stopping.wait(60) == OUT_OF_SERVICE
        kept = load_checkpoint(tmp_path / "stops").step
        assert kept >= 1
    with closing(Service(data, {}, port=port)):
        assert train(load_config("tiny-nbclip", impatient), tmp_path / "stops", resume=True).finished
    same(tmp_path / "stops", tmp_path / "straight")
    record_property("steps identical", len(losses(tmp_path / "stops")))
