"""Trains and scores every arm with every seed; skips what is done."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from nbclip.errors import InvalidInput, NotFound
from rich.console import Console

from nbclip_trainer.config.saved import check_same_shape
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.evaluation.ontology import Ontology
from nbclip_trainer.experiments.arms import Arm, Preset, arm_config
from nbclip_trainer.parallel.world import World
from nbclip_trainer.runs.checkpoint import has_checkpoint
from nbclip_trainer.runs.results import ScoringProtocol, read_scored
from nbclip_trainer.training import loop


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Attributes:
        preset: size of the models.
        arms: rows of the tables.
        seeds: of each arm.
        overrides: `key=value` over the preset, for all arms.
        folder: holds a run's folder for each arm and seed.
    """

    preset: Preset
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    overrides: tuple[str, ...]
    folder: Path

    def run_dir(self, arm: Arm, seed: int) -> Path:
        """Folder of one run."""
        return self.folder / f"{arm.name}-seed{seed}"

    def config(self, arm: Arm, seed: int) -> TrainConfig:
        """Settings of one run."""
        return arm_config(self.preset, arm, seed, self.overrides)


def run_all(
    plan: Plan,
    *,
    protocol: ScoringProtocol | None = None,
    ontology: Ontology | None,
    device: str,
    stop: threading.Event,
    console: Console,
) -> bool:
    """Runs what is missing, seed by seed, so that a run cut short has whole seeds of all arms.

    Returns:
        Whether all is done; False where `stop` was set.

    Raises:
        Conflict: a run in the folder has other settings than the plan.
        NBClipError: as `train` and `evaluate_run`.
    """
    pairs = [(arm, seed) for seed in plan.seeds for arm in plan.arms]
    # All settings are checked before the first hour is spent.
    for arm, seed in pairs:
        config = plan.config(arm, seed)
        if has_checkpoint(plan.run_dir(arm, seed)):
            check_same_shape(plan.run_dir(arm, seed), config)
    for number, (arm, seed) in enumerate(pairs, 1):
        run_dir = plan.run_dir(arm, seed)
        if _is_scored(run_dir):
            continue
        console.print(f"[bold]{number} of {len(pairs)}:[/bold] {arm.title}, seed {seed}", highlight=False)
        config = plan.config(arm, seed)
        if not loop.train(config, run_dir, resume=True, stop=stop, console=console).finished or stop.is_set():
            return False
        evaluate_run(run_dir, checkpoint=config.selected, protocol=protocol, ontology=ontology, world=World(torch.device(device)))
    return True


def _is_scored(run_dir: Path) -> bool:
    try:
        read_scored(run_dir)
    except NotFound:
        return False
    return True


def seeds_of(text: str) -> list[int]:
    """Distinct seeds of `1,2,3`.

    Raises:
        InvalidInput: anything else.
    """
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InvalidInput(f"--seeds {text!r} are not distinct whole numbers", hint="such as --seeds 1,2,3")
    return seeds
