"""Runs laid side by side: what they were, what differs in their settings, and the paired differences of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.config.saved import read_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.evaluation.summary import differences, summarise
from nbclip_trainer.runs.folder import flattened, read_facts
from nbclip_trainer.runs.quarantine import Quarantined, read_quarantine
from nbclip_trainer.runs.results import Figure, Scored, check_comparable, own_evaluation, read_scored, run_of
from nbclip_trainer.runs.speed import Speed, speed_of
from nbclip_trainer.runs.tracking import read_metrics

Key = tuple[str, str, str, str, str]
"""ranker, direction, task, subset, metric."""
_NOT_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("service", "log", "device", "description"), True),
    "checkpoint": {"every", "keep"},
}


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """An evaluated run.

    Attributes:
        name: the folder's name, unlike that of any other run of the comparison.
        place: 1 for the first run; decides its colour.
        of_run: where the evaluation is one beside the run's own, and `name` that of its folder, the run's name; else empty.
        config: its settings, and those that the evaluation read the data with.
        facts: its `run.json`.
        records: its `metrics.jsonl`.
        left_out: its `quarantine.jsonl`.
        scored: its evaluation.
        figures: the evaluation's figures by key.
        differences: those less the baseline's, paired; empty for the baseline.
    """

    name: str
    place: int
    of_run: str
    config: TrainConfig
    facts: dict[str, Any]
    records: list[dict[str, Any]]
    left_out: list[Quarantined]
    scored: Scored
    figures: dict[Key, Figure]
    differences: dict[Key, Figure] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Loss and knowledge in a few words."""
        knowledge = {"identity": "one-hot targets", "noise": "noise", "dk": "DK", "dk_ek": "DK + EK", "labels": "true labels"}
        return f"{self.config.loss.name}, {knowledge[self.config.targets.knowledge]}"

    @property
    def logit_scale(self) -> str:
        """exp(logit_scale) of the model that was scored, and whether it was fixed; a dash where an older evaluation has none."""
        scale = self.scored.evaluation.logit_scale
        return "–" if scale is None else f"{scale:.1f}{'' if self.config.model.logit_scale_trains else ', fixed'}"

    @property
    def speed(self) -> Speed | None:
        """How fast it was trained."""
        return speed_of(record for record in self.records if record["kind"] == "train")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs in the order given, and which of them the others are measured against."""

    runs: tuple[ComparedRun, ...]
    baseline: ComparedRun

    @property
    def others(self) -> tuple[ComparedRun, ...]:
        """All runs but the baseline."""
        return tuple(run for run in self.runs if run is not self.baseline)


def compare(run_dirs: Sequence[Path], baseline: Path | None = None) -> Comparison:
    """Reads evaluated runs and pairs each with the baseline.

    Args:
        run_dirs: folders of evaluated runs, or of evaluations (`nbclip evaluate --out`).
        baseline: one of them; default: the first that trained without knowledge, else the first.

    Raises:
        InvalidInput: no run, a run twice, a baseline that is none of them, or runs that can't be compared.
        NotFound: a run that was not evaluated, or an evaluation whose run is gone.
    """
    folders = [_canonical(folder) for folder in run_dirs]
    if not folders or len(set(folders)) < len(folders):
        raise InvalidInput("a report needs runs, each once", hint="nbclip report RUN [RUN ...]")
    runs = [_read(folder, name, place) for place, (folder, name) in enumerate(zip(folders, _names(folders), strict=True), 1)]
    base = _baseline(runs, folders, baseline)
    for run in runs:
        check_comparable(run.scored, base.scored)
    runs = [run if run is base else _paired(run, base) for run in runs]
    return Comparison(tuple(runs), base)


def differing_settings(runs: Sequence[ComparedRun]) -> list[tuple[str, list[Any]]]:
    """Dotted key and each run's value, for the settings that are not the same in all runs."""
    trees = [dict(flattened(run.config.model_dump(mode="json", exclude=_NOT_SETTINGS))) for run in runs]
    keys = sorted({key for tree in trees for key in tree})
    rows = [(key, [tree.get(key) for tree in trees]) for key in keys]
    return [(key, values) for key, values in rows if any(value != values[0] for value in values)]


def by_key(figures: Sequence[Figure]) -> dict[Key, Figure]:
    """Figures by ranker, direction, task, subset and metric."""
    return {(one.ranker, one.direction, one.task, one.subset, one.metric): one for one in figures}


def _read(folder: Path, name: str, place: int) -> ComparedRun:
    scored = read_scored(folder)
    run_dir = run_of(folder, scored.evaluation)
    return ComparedRun(
        name=name,
        place=place,
        of_run="" if run_dir == folder else run_dir.name,
        config=read_config(run_dir, scored.evaluation.settings),
        facts=read_facts(run_dir),
        records=list(read_metrics(run_dir)),
        left_out=read_quarantine(run_dir),
        scored=scored,
        figures=by_key(scored.evaluation.figures),
    )


def _canonical(folder: Path) -> Path:
    """A folder by its one name: a run, for its own evaluation too."""
    whole = folder.resolve()
    return whole.parent if own_evaluation(whole.parent) == whole and (whole.parent / "run.json").is_file() else whole


def _paired(run: ComparedRun, base: ComparedRun) -> ComparedRun:
    models = pl.col("ranker").is_in(["model", "backbone"])
    difference = differences(run.scored.queries.filter(models), base.scored.queries)
    found = by_key(summarise(difference, run.scored.evaluation.protocol))
    return replace(run, differences=found)


def _baseline(runs: Sequence[ComparedRun], folders: Sequence[Path], baseline: Path | None) -> ComparedRun:
    if baseline is None:
        return next((run for run in runs if run.config.targets.knowledge == "identity"), runs[0])
    if _canonical(baseline) not in folders:
        raise InvalidInput(f"{baseline}: the baseline is not among the runs", hint="name it among them too")
    return runs[folders.index(_canonical(baseline))]


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names, with the parent's before them where two are alike."""
    names = [folder.name for folder in folders]
    return [f"{folder.parent.name}/{folder.name}" if names.count(folder.name) > 1 else folder.name for folder in folders]
