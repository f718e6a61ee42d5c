"""An experiment from its grid to its scored runs: everything is checked first, then chosen, then reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbclip.errors import InvalidInput

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.filtering import narrowed, with_values
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.experiments.choosing import choose, is_trained
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.job import Job
from nbclip_trainer.experiments.layout import Chosen, Layout, Run, Snapshots, data_of, keep_grid
from nbclip_trainer.experiments.recipes import Edges, label_edges, needed_snapshots
from nbclip_trainer.experiments.running import Failure, run_jobs
from nbclip_trainer.experiments.snapshots import LabelledIsA
from nbclip_trainer.runs.results import ScoringProtocol

_RESAMPLES = 100
"""The experiment's own intervals are made of all runs; those of a single one are shown nowhere."""
_LABELS_OF = {"precision_at_10": CLASS_TASKS, "cui_coverage_at_10": ("cuis",)}


@dataclass(frozen=True, slots=True)
class Means:
    """What runs are made with: processes side by side, the devices they take in turn, who stops them, who is told."""

    workers: int
    devices: tuple[str | None, ...]
    stop: threading.Event
    say: Callable[[str], None]


def check(layout: Layout) -> None:
    """Refuses, before the first run, what one of them would stumble over.

    Raises:
        InvalidInput: settings that can't be, a split, column or value that the data lack, labels that are needed.
        Conflict: the folder has runs of another experiment.
    """
    first = layout.grid.first_candidates
    configs = {run: layout.config(run, first, {}) for run in (*layout.tried(), *layout.reported())}
    _check_rankers(layout.grid, {run.arm: config for run, config in configs.items()})
    for data in data_of(configs.values()):
        dataset = open_dataset(data)
        narrowed(dataset.of_split(data.train_split), data)
        if data.valid_split is not None:
            narrowed(dataset.of_split(data.valid_split), data, known=dataset)
        _check_labels(layout.grid, dataset, data.train_split, data.valid_split)
        for name, pictures in layout.grid.sets.items():
            frame = dataset.of_split(pictures.split).frame_of([pictures.split])
            with_values(frame, pictures.where, f"sets.{name}.where")
    keep_grid(layout)


def run_experiment(layout: Layout, snapshots: Snapshots, means: Means) -> list[Failure]:
    """Chooses every arm's free settings and makes the runs that are reported; what is done is kept.

    Returns:
        The runs that failed. Where `means.stop` was set, some are missing.
    """
    failures = _run(layout, layout.tried(), {}, snapshots, means, "choice")
    if means.stop.is_set():
        return failures
    record = choose(layout)
    chosen = {} if record is None else record.settings
    free = {run.arm for run in layout.tried()}
    starts = {run: layout.start_of(run) for run in layout.reported()}
    begin = [run for run, start in starts.items() if start is None and (run.arm in chosen or run.arm not in free)]
    failures += _run(layout, begin, chosen, snapshots, means, "runs")
    go_on = [run for run, start in starts.items() if start is not None and is_trained(layout.run_dir(start))]
    return [*failures, *(_run(layout, go_on, chosen, snapshots, means, "runs that go on from others") if go_on else ())]


def edges_of_labels(
    config: TrainConfig, columns: Sequence[str], link: Callable[[Sequence[str]], Sequence[frozenset[str]]]
) -> Edges:
    """is_a from the concepts of the training captions to the classes of some columns (`label_edges`)."""
    train = narrowed(open_dataset(config.data).of_split(config.data.train_split), config.data)
    return label_edges(link(list(train.captions)), {column: list(train.labels(column)) for column in columns})


def _run(layout: Layout, runs: Sequence[Run], chosen: Chosen, snapshots: Snapshots, means: Means, what: str) -> list[Failure]:
    """The first run of each kind of towers goes alone, since the others take their features from it."""
    jobs = [_job(layout, run, layout.config(run, chosen, snapshots)) for run in runs]
    for job in jobs:
        job.check()
    ahead = {_towers(job.config): job for job in reversed(jobs) if job.config.data.features is not None}
    first = [job for job in jobs if job in ahead.values() and not job.is_done and job.config.data.features]

    def say(line: str) -> None:
        means.say(f"{what}: {line}")

    if first:
        say(f"computing what locked towers see, once for all runs; {first[0].log} tells how far")
    failures = run_jobs(first, workers=1, devices=means.devices, stop=means.stop, say=say) if means.workers > 1 else []
    failed = [failure.job for failure in failures]
    rest = [job for job in jobs if job not in failed]
    return [*failures, *run_jobs(rest, workers=means.workers, devices=means.devices, stop=means.stop, say=say)]


def _job(layout: Layout, run: Run, config: TrainConfig) -> Job:
    grid = layout.grid
    evaluations: dict[Path, ScoringProtocol] = {}
    if run.candidate is None:
        for name, pictures in grid.sets.items():
            evaluations[layout.evaluation_dir(run, name)] = ScoringProtocol(
                class_split=pictures.split,
                cui_splits=(pictures.split,),
                where=pictures.where,
                minimum_class_size=grid.minimum_class_size,
                resamples=_RESAMPLES,
            )
    linked = layout.folder if grid.linked_cuis else None
    return Job(run.title, layout.run_dir(run), config, evaluations, layout.folder / "towers", linked)


def _towers(config: TrainConfig) -> str:
    """What features follow from; of towers from scratch also the seed."""
    seed = config.seed if config.model.pretrained is None and config.model.image_weights is None else ""
    return f"{config.model.model_dump_json(exclude={'logit_scale'})} {config.data.model_dump_json()} {config.augmentation} {seed}"


def _check_rankers(grid: Grid, configs: dict[str, TrainConfig]) -> None:
    """Features before the projection are frozen in locked towers alone."""
    for name, arm in grid.arms.items():
        if arm.scored != "backbone" or arm.reads is None:
            continue
        locked = all(tower.unlocked == 0 for _, tower in configs[arm.reads].model.towers())
        if locked and arm.ranker == "trained backbone":
            raise InvalidInput(
                f"arms.{name}.ranker='trained backbone': the towers of {arm.reads} are locked",
                hint="ranker: backbone is what locked towers see",
            )
        if not locked and arm.ranker == "backbone":
            raise InvalidInput(
                f"arms.{name}.ranker='backbone': the towers of {arm.reads} train, so that their features are not frozen",
                hint="ranker: trained backbone, or raw pixels; or set model.image.unlocked=0 and model.text.unlocked=0",
            )


def _check_labels(grid: Grid, dataset: Dataset, train: str | None, valid: str | None) -> None:
    """The labels that a choice and a recipe need."""
    by = "" if grid.choose is None or all(len(grid.candidates(arm)) == 1 for arm in grid.trained) else grid.choose.by
    if by and valid is None:
        raise InvalidInput(f"choose.by={by}: data.valid_split is null", hint="name a split of the data")
    needed = _LABELS_OF.get(by, ())
    if needed and not {*needed} & {*dataset.filled(valid or "")}:
        raise InvalidInput(
            f"choose.by={by}: split {valid!r} has no value in {', '.join(needed)}", hint="choose.by: recall needs no labels"
        )
    for name, (recipe, _) in needed_snapshots(grid).items():
        columns = recipe.is_a.labels if isinstance(recipe.is_a, LabelledIsA) else ()
        for column in columns:
            if train is None or column not in dataset.filled(train):
                raise InvalidInput(f"snapshots.{name}.is_a.labels: split {train!r} has no value in the column {column}")
