"""Which candidate of every arm is reported: that of the best mean on the validation split, all of it kept in `choice.json`.

The mean is over seeds, and over the arms that are chosen jointly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from nbclip.schemas.base import Strict
from pydantic import JsonValue, ValidationError

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.experiments.layout import Layout
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.selection import merit
from nbclip_trainer.runs.settings import BestBy
from nbclip_trainer.runs.tracking import read_metrics

_NAME = "choice.json"


class Candidate(Strict):
    """Settings that were tried, and each seed's figure on the validation split."""

    settings: dict[str, JsonValue]
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.values)


class ChoiceOfArm(Strict):
    """All that was tried for an arm, and the number of the candidate that was chosen."""

    tried: tuple[Candidate, ...]
    chosen: int


class ChoiceRecord(Strict):
    """The whole of `choice.json`; arms that had nothing to choose are not in it."""

    by: BestBy
    seeds: tuple[int, ...]
    arms: dict[str, ChoiceOfArm]

    @property
    def settings(self) -> dict[str, dict[str, JsonValue]]:
        """What was chosen, by arm."""
        return {name: arm.tried[arm.chosen].settings for name, arm in self.arms.items()}


def choose(layout: Layout) -> ChoiceRecord | None:
    """Chooses by the runs of `layout.tried()`, writes `choice.json` and returns it; None where the grid chooses nothing.

    Arms of which a run of the choice is missing are left out, and those that are chosen with them.

    Raises:
        InvalidInput: the validation split has no such figure.
    """
    choice = layout.grid.choose
    if choice is None:
        return None
    found = {arm: _tried(layout, arm, choice.by) for arm in dict.fromkeys(run.arm for run in layout.tried())}
    tried = {arm: candidates for arm, candidates in found.items() if candidates}
    arms = {
        arm: ChoiceOfArm(tried=candidates, chosen=best([tried[one] for one in choice.group_of(arm)]))
        for arm, candidates in tried.items()
        if tried.keys() >= {*choice.group_of(arm)}
    }
    record = ChoiceRecord(by=choice.by, seeds=choice.seeds, arms=arms)
    with replacing(layout.folder / _NAME) as path:
        path.write_text(record.model_dump_json(indent=1), encoding="utf-8")
    return record


def best(arms: Sequence[Sequence[Candidate]]) -> int:
    """The number of the candidate with the best mean over these arms, the first of equal ones."""
    means = [fmean(candidate.mean for candidate in same) for same in zip(*arms, strict=True)]
    return means.index(max(means))


def read_choice(folder: Path) -> ChoiceRecord | None:
    """What `choose` wrote; None where nothing was chosen. Raises BrokenArtefact."""
    path = folder / _NAME
    if not path.is_file():
        return None
    try:
        return ChoiceRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BrokenArtefact(f"{path}: damaged", hint="remove it, and it is made again from the runs") from error


def is_trained(run_dir: Path) -> bool:
    """Whether a run has come to its end."""
    return (run_dir / "trained.json").is_file()


def mark_trained(run_dir: Path, seconds: float) -> None:
    """Says that a run has come to its end, and how long it took this time."""
    with replacing(run_dir / "trained.json") as path:
        path.write_text(json.dumps({"seconds": round(seconds, 2)}), encoding="utf-8")


def _tried(layout: Layout, arm: str, by: BestBy) -> tuple[Candidate, ...]:
    """An arm's candidates with their figures; none where a run is missing."""
    runs = [run for run in layout.tried() if run.arm == arm]
    if not all(is_trained(layout.run_dir(run)) for run in runs):
        return ()
    return tuple(
        Candidate(settings=settings, values=tuple(_value(layout.run_dir(run), by) for run in runs if run.candidate == number))
        for number, settings in enumerate(layout.grid.candidates(arm))
    )


def _value(run_dir: Path, by: BestBy) -> float:
    """A run's figure, more is better, at the checkpoint that an evaluation would take."""
    config: TrainConfig = read_config(run_dir)
    records: list[dict[str, Any]] = [record for record in read_metrics(run_dir) if record["kind"] == "valid"]
    if not records:
        raise NotFound(f"{run_dir}: never validated", hint="choose needs data.valid_split")
    best = records[-1]
    if config.selected == "best":
        merits = [merit(record, config.checkpoint.best_by) for record in records]
        best = records[max(range(len(records)), key=lambda row: -math.inf if (found := merits[row]) is None else found)]
    value = merit(best, by)
    if value is None:
        raise InvalidInput(
            f"{run_dir}: its validations have no {by}", hint="choose.by=recall needs no labels in the validation split"
        )
    return value
