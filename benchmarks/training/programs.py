"""The two trainers as programs, and what a step of each takes."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nbclip_trainer.config.reading import load_config
from nbclip_trainer.models.recipe import recipe_of
from watch import Cost, watched

_WEIGHTS = Path(__file__).parents[2] / "weights"
_LEFT_OUT = 3
"""First steps, in which caches, worker processes and prefetched targets are cold."""
_THEIR_STEP = re.compile(r"Batch \(t\): ")
_OUR_STEP = re.compile(r'"kind": ?"train"')
_THEIRS = (
    "import sys, open_clip; open_clip.add_model_config(sys.argv[1]); from open_clip_train.main import main; main(sys.argv[2:])"
)


@dataclass(frozen=True, slots=True)
class Model:
    """What is trained: `architecture` where open_clip has no such name; `curve`, further settings where losses are compared."""

    name: str
    preset: str
    settings: tuple[str, ...]
    batch: int
    steps: int
    architecture: dict[str, Any] | None = None
    curve: tuple[str, ...] = ()

    def with_batch(self, batch: int) -> Model:
        """The same with another batch, and about as many pairs in all."""
        return replace(self, batch=batch, steps=max(self.steps * self.batch // batch, _LEFT_OUT + 3))


def _architecture(preset: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """As open_clip reads it."""
    return dict(recipe_of(load_config(preset, list(settings)).model).config)


_OWN_WEIGHTS = (
    f"model.image_weights={_WEIGHTS / 'efficientnet-lite0.safetensors'}",
    f"model.architecture.text_cfg.hf_model_name={_WEIGHTS / 'all-minilm-l6-v2'}",
)
# open_clip_train knows no locked towers whose batch normalisation rests, no views and no dropout before projections.
_WHOLE_TOWERS = (
    *("data.features=null", "augmentation.views=null", "optim.lr=1e-4"),
    *(f"model.{tower}.{setting}" for tower in ("image", "text") for setting in ("unlocked=null", "dropout=0", "start=weights")),
)
MODELS = (
    Model("tiny", "tiny-clip", (), 128, 27, _architecture("tiny-clip")),
    Model("small", "small", _OWN_WEIGHTS, 128, 9, _architecture("small", _OWN_WEIGHTS), _WHOLE_TOWERS),
    Model("ViT-B-32", "paper-clip", ("model.name=ViT-B-32", "model.pretrained=null"), 32, 8),
)


@dataclass(frozen=True, slots=True)
class Timing:
    """What a program's steps cost, without the first ones; share of their time that was waited for targets."""

    batch: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    target_wait: float = 0.0


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
    return _timing(model, watched(command, folder, folder / "run" / "out.log", _THEIR_STEP, _LEFT_OUT, model.steps))


def time_ours(model: Model, pairs: Path, folder: Path, settings: Sequence[str], prefix: Sequence[str] = ()) -> Timing:
    """`nbclip train`, as many epochs as make the steps; validation and its checkpoint come after the last one."""
    folder.mkdir(parents=True)
    table = _cut(pairs, folder, model.batch * model.steps)
    pairs_there = sum(1 for _ in table.open()) - 1
    chosen = (
        *model.settings, f"data.files=[{table}]", "data.valid_split=null", "data.pictures=disk", "data.workers=1",
        "augmentation.kind=open_clip", f"batch_size={model.batch}", f"epochs={-(-model.steps // (pairs_there // model.batch))}",
        "optim.lr=1e-4", "optim.clip_norm=1.0", "device={name: cpu, precision: fp32}", *settings,
    )  # fmt: skip
    options = [part for setting in chosen for part in ("--set", setting)]
    run = folder / "run"
    command = [*prefix, sys.executable, "-m", "nbclip_trainer", "train", "--preset", model.preset, "--run", str(run), *options]
    # A step's line is written after the next one, the last one's with the checkpoint.
    cost = watched(command, folder, run / "metrics.jsonl", _OUR_STEP, _LEFT_OUT - 1, model.steps - 1)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counted = [record for record in records if record["kind"] == "train"][_LEFT_OUT:]
    waited = sum(record["target_wait"] for record in counted) / sum(record["seconds"] for record in counted)
    return replace(_timing(model, cost), target_wait=waited)


def _timing(model: Model, cost: Cost) -> Timing:
    return Timing(model.batch, **asdict(cost))


def _cut(pairs: Path, folder: Path, count: int) -> Path:
    """The first `count` pairs, or all of them where there are fewer."""
    path = folder / "pairs.csv"
    with pairs.open(encoding="utf-8", newline="") as source, path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row for number, row in enumerate(csv.reader(source)) if number <= count)
    return path
