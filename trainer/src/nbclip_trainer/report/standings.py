"""How the runs stand at a glance: the first chart, the tallies against the baseline, and what each run's targets were like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.report.compared import ComparedRun, Comparison, Key
from nbclip_trainer.report.figure_tables import excludes_zero, middle_k
from nbclip_trainer.runs.results import Figure


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a run's targets were like, mean over its diagnostics; None where it logged none or its loss has no target rows."""

    name: str
    place: int
    neighbour_mass: float | None
    effective_positives: float | None
    target_entropy: float | None
    largest_entropy: float
    one_hot: float | None
    without_knowledge: float | None
    spearman: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A bar of the first chart: the mean over the class tasks; `place` is None for a floor."""

    name: str
    place: int | None
    value: float


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a run's image→image P@K figures lie above, below, or on either side of the baseline's."""

    name: str
    place: int
    above: int
    below: int
    open: int


def calibrations(runs: Sequence[ComparedRun]) -> list[Calibration]:
    """What each run's targets were like."""
    return [_calibration(run) for run in runs]


def standings(comparison: Comparison) -> list[Standing]:
    """Image→image P@K at the middle K, mean over the class tasks: the floors, then the runs. None without class tasks.

    Floors are chance, raw pixels and, of runs whose image tower is locked, what it sees before the projection.
    """
    metric = f"P@{middle_k(comparison)}"

    def mean(run: ComparedRun, ranker: str) -> float | None:
        figures = [run.figures.get((ranker, "image→image", task, "all", metric)) for task in CLASS_TASKS]
        values = [figure.value for figure in figures if figure is not None and figure.value is not None]
        return fmean(values) if values else None

    floors = [(name, None, mean(comparison.baseline, name)) for name in ("chance", "raw pixels")]
    frozen = {run.name: mean(run, "backbone") for run in comparison.runs if _is_locked(run)}
    if len({round(value, 6) for value in frozen.values() if value is not None}) == 1:
        floors.append(("frozen features", None, next(value for value in frozen.values() if value is not None)))
    else:
        floors += [(f"frozen features of {name}", None, value) for name, value in frozen.items()]
    runs = [(run.name, run.place, mean(run, "model")) for run in comparison.runs]
    return [Standing(name, place, value) for name, place, value in (*floors, *runs) if value is not None]


def tallies(comparison: Comparison) -> list[Tally]:
    """One tally for each run that is not the baseline; none where no class was large enough to be scored."""
    ks = comparison.baseline.scored.evaluation.protocol.class_ks
    keys: list[Key] = [("model", "image→image", task, "all", f"P@{k}") for task in CLASS_TASKS for k in ks]
    keys = [key for key in keys if key in comparison.baseline.figures]
    return [_tally(run, [run.differences[key] for key in keys]) for run in comparison.others if keys]


def _is_locked(run: ComparedRun) -> bool:
    """Whether what the image tower has before its projection is as it was before training."""
    tower = run.config.model.image
    return tower.unlocked == 0 and tower.lora is None


def _tally(run: ComparedRun, found: Sequence[Figure]) -> Tally:
    above = sum(excludes_zero(figure) and (figure.value or 0) > 0 for figure in found)
    below = sum(excludes_zero(figure) and (figure.value or 0) < 0 for figure in found)
    return Tally(run.name, run.place, above, below, len(found) - above - below)


def _calibration(run: ComparedRun) -> Calibration:
    loss, targets = run.config.loss, run.config.targets
    records = [record for record in run.records if record["kind"] == "diagnostics"]
    has_mass = loss.compares_rows and targets.form == "recommended" and targets.knowledge != "identity"

    def mean(name: str) -> float | None:
        values = [float(record[name]) for record in records if record.get(name) is not None]
        return fmean(values) if values else None

    spearman = [float(record["spearman"]) for record in records if record.get("spearman") is not None]
    return Calibration(
        name=run.name,
        place=run.place,
        neighbour_mass=targets.neighbour_mass if has_mass else None,
        effective_positives=mean("effective_positives") if loss.compares_rows else None,
        target_entropy=mean("target_entropy") if loss.compares_rows else None,
        largest_entropy=math.log(run.config.batch_size),
        one_hot=mean("one_hot") if loss.compares_rows else None,
        without_knowledge=mean("without_knowledge"),
        spearman=(spearman[0], spearman[-1]) if spearman else None,
    )
