"""The two trainers as programs, and what a step of each takes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nbclip_trainer.config.reading import load_config

_LEFT_OUT = 2
"""First steps, in which caches, worker processes and prefetched targets are cold."""
_BATCH_SECONDS = re.compile(r"Batch \(t\): ([0-9.]+)")
_THEIRS = (
    "import sys, open_clip; open_clip.add_model_config(sys.argv[1]); from open_clip_train.main import main; main(sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Model:
    """What is trained: `architecture` where open_clip has no such name."""

    name: str
    preset: str
    settings: tuple[str, ...]
    batch: int
    steps: int
    architecture: dict[str, Any] | None = None

    def with_batch(self, batch: int) -> Model:
        """The same with another batch, and about as many pairs in all."""
        return replace(self, batch=batch, steps=max(self.steps * self.batch // batch, _LEFT_OUT + 3))


_TINY = load_config("tiny-clip").model.model_dump(mode="json")["architecture"]
MODELS = (
    Model("nbclip-tiny", "tiny-clip", (), 128, 26, _TINY),
    Model("ViT-B-32", "paper-clip", ("model.name=ViT-B-32", "model.pretrained=null"), 32, 7),
)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of each step but the first ones; share of all that was waited for targets; largest memory of the process."""

    batch: int
    steps: tuple[float, ...]
    target_wait: float
    peak_mb: float


def time_theirs(model: Model, pairs: Path, folder: Path) -> Timing:
    """open_clip_train, one epoch of as many pairs as make the steps."""
    folder.mkdir(parents=True)
    configs = folder / "configs"
    configs.mkdir()
    if model.architecture is not None:
        (configs / f"{model.name}.json").write_text(json.dumps(model.architecture))
    options = {
        "train-data": _cut(pairs, folder, model.batch * model.steps), "dataset-type": "csv", "csv-separator": ",",
        "csv-img-key": "file", "csv-caption-key": "caption", "model": model.name, "batch-size": model.batch, "epochs": 1,
        "workers": 1, "precision": "fp32", "device": "cpu", "grad-clip-norm": 1.0, "warmup": 1, "lr": 1e-4, "logs": folder,
        "name": "run", "log-every-n-steps": 1, "save-frequency": 0,
    }  # fmt: skip
    command = [sys.executable, "-c", _THEIRS, str(configs), *(f"--{name}={value}" for name, value in options.items())]
    peak_mb = _run(command, folder)
    steps = [float(seconds) for seconds in _BATCH_SECONDS.findall((folder / "run" / "out.log").read_text())]
    return Timing(model.batch, tuple(steps[_LEFT_OUT:]), 0.0, peak_mb)


def time_ours(model: Model, pairs: Path, folder: Path, settings: Sequence[str]) -> Timing:
    """`nbclip train`, as many epochs as make the steps."""
    folder.mkdir(parents=True)
    table = _cut(pairs, folder, model.batch * model.steps)
    pairs_there = sum(1 for _ in table.open()) - 1
    chosen = (
        *model.settings, f"data.files=[{table}]", "data.valid_split=null", "data.pictures=disk", "data.workers=1",
        "augmentation.kind=open_clip", f"batch_size={model.batch}", f"epochs={-(-model.steps // (pairs_there // model.batch))}",
        "optim.lr=1e-4", "optim.clip_norm=1.0", "device={name: cpu, precision: fp32}", *settings,
    )  # fmt: skip
    options = (part for setting in chosen for part in ("--set", setting))
    command = [sys.executable, "-m", "nbclip_trainer", "train", "--preset", model.preset, "--run", str(folder / "run"), *options]
    peak_mb = _run(command, folder)
    records = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    counted = [record for record in records if record["kind"] == "train"][_LEFT_OUT:]
    steps = tuple(record["seconds"] for record in counted)
    return Timing(model.batch, steps, sum(record["target_wait"] for record in counted) / sum(steps), peak_mb)


def _cut(pairs: Path, folder: Path, count: int) -> Path:
    """The first `count` pairs, or all of them where there are fewer."""
    path = folder / "pairs.csv"
    with pairs.open(encoding="utf-8", newline="") as source, path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row for number, row in enumerate(csv.reader(source)) if number <= count)
    return path


def _run(command: Sequence[str], folder: Path) -> float:
    """Runs a program to its end; returns its peak memory in MB (its decoding process is another)."""
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}:\n{(folder / 'log').read_text()[-3000:]}")
    return usage.ru_maxrss / 1000
