"""What an experiment runs, with which settings, and where in its folder everything lies.

grid.yaml                    the grid, whole
snapshots.json               id of each snapshot that was published for it
choice.json                  what was tried for every arm, and what was chosen
choice/ARM/0-seed101/        a run of each candidate and seed of the choice
runs/ARM-kg1-seed1/          a run that is reported, as `nbclip train` makes it; without kg1 where the arm has no KG seeds
runs/ARM-kg1-seed1/sets/SET/ its evaluation on a set of pictures, as `nbclip evaluate --out` makes it
RUN/log.txt                  what a run said
linked.json                  concepts of the reported pictures' captions, with `linked_cuis`
features/                    what locked towers compute, once for all runs
towers/                      their weights, which the runs have by hard links
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import yaml
from nbclip.errors import BrokenArtefact, Conflict, InvalidInput, NotFound
from pydantic import JsonValue, ValidationError

from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.experiments.grid import Grid
from nbclip_trainer.experiments.snapshots import KG_SEED
from nbclip_trainer.runs.durable import replacing

Snapshots = Mapping[str, str]
"""Ids by `snapshot_name`."""
Chosen = Mapping[str, Mapping[str, JsonValue]]
"""Settings by arm."""
_GRID = "grid.yaml"
_AS_THE_START_LEFT_IT = (
    "model.logit_scale=null",
    *(f"model.{tower}_weights=null" for tower in ("image", "text")),
    *(f"model.{tower}.start=weights" for tower in ("image", "text")),
)
"""Over settings that would put something in the place of the weights that a run starts from."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training. `kg_seed` is None where the arm has none, `candidate` where the run is reported."""

    arm: str
    seed: int
    kg_seed: int | None = None
    candidate: int | None = None

    @property
    def title(self) -> str:
        """For people."""
        kg_seed = "" if self.kg_seed is None else f", KG seed {self.kg_seed}"
        return f"{self.arm}{'' if self.candidate is None else f', candidate {self.candidate}'}{kg_seed}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class Layout:
    """An experiment in its folder.

    Attributes:
        grid: what is run.
        folder: where.
        overrides: `a.b=c` over the grid's settings, for all arms: data, service, device.
    """

    grid: Grid
    folder: Path
    overrides: tuple[str, ...] = ()

    def reported(self) -> list[Run]:
        """The runs of all arms seed by seed, so that an experiment cut short has whole seeds of all arms."""
        grid = self.grid
        first = [Run(arm, seed, grid.kg_seeds_of(arm)[0]) for seed in grid.seeds for arm in grid.trained]
        kg_seeds = [(seed, arm, kg_seed) for arm in grid.trained for kg_seed in grid.kg_seeds_of(arm)[1:] for seed in grid.seeds]
        return [*first, *(Run(arm, seed, kg_seed) for seed, arm, kg_seed in sorted(kg_seeds, key=lambda one: one[0]))]

    def tried(self) -> list[Run]:
        """The runs of the choice; none for arms that have nothing to choose."""
        if self.grid.choose is None:
            return []
        found = []
        for arm in self.grid.trained:
            candidates = range(len(self.grid.candidates(arm)))
            has_kg_seed = self.grid.kg_seeds_of(arm) != (None,)
            pairs = list(zip(self.grid.choose.seeds, cycle(self.grid.choose.kg_seeds), strict=False))
            if len(candidates) > 1:
                found += [Run(arm, seed, kg_seed if has_kg_seed else None, one) for one in candidates for seed, kg_seed in pairs]
        return found

    def start_of(self, run: Run) -> Run | None:
        """The run whose weights a run begins with; None where it begins anew."""
        start = self.grid.arms[run.arm].starts_from
        return None if start is None else Run(start, run.seed)

    def run_dir(self, run: Run) -> Path:
        """Folder of a run."""
        name = f"{'' if run.kg_seed is None else f'kg{run.kg_seed}-'}seed{run.seed}"
        if run.candidate is None:
            return self.folder / "runs" / f"{run.arm}-{name}"
        return self.folder / "choice" / run.arm / f"{run.candidate}-{name}"

    def evaluation_dir(self, run: Run, pictures: str) -> Path:
        """Folder of a run's evaluation on one of the grid's `sets`."""
        return self.run_dir(run) / "sets" / pictures

    def config(self, run: Run, chosen: Chosen, snapshots: Snapshots) -> TrainConfig:
        """Settings of a run; the arm's own come last, so that no arm turns into another.

        Raises:
            InvalidInput: an unknown key, or a value out of its range.
        """
        grid, arm, start = self.grid, self.grid.arms[run.arm], self.start_of(run)
        free = chosen.get((start or run).arm, {}) if run.candidate is None else grid.candidates(run.arm)[run.candidate]
        own = [as_override(key, value) for key, value in free.items()]
        if start is not None:
            own += [as_override("model.pretrained", str(self.run_dir(start).absolute())), *_AS_THE_START_LEFT_IT]
        own += [*arm.set, f"seed={run.seed}"]
        if arm.snapshot is not None:
            snapshot = snapshots.get(snapshot_name(arm.snapshot, run.kg_seed), "null")
            own.append(f"targets.snapshot={snapshot if snapshot == 'null' else repr(snapshot)}")
        try:
            config = load_config(arm.preset or grid.preset, [*grid.set, *self.overrides, *own])
        except InvalidInput as error:
            raise InvalidInput(f"arms.{run.arm}: {error.message}", hint=error.hint) from error
        if not config.towers_repeat or config.data.features is not None:
            return config
        data = config.data.model_copy(update={"features": self.folder.absolute() / "features"})
        return config.model_copy(update={"data": data})


def data_of(configs: Iterable[TrainConfig]) -> list[DataSettings]:
    """Where the pairs of runs come from, each once."""
    return list({config.data.model_dump_json(): config.data for config in configs}.values())


def snapshot_name(recipe: str, kg_seed: int | None) -> str:
    """A recipe's snapshot of a KG seed, as `snapshots.json` names it."""
    return recipe if kg_seed is None else f"{recipe} {KG_SEED}={kg_seed}"


def as_override(key: str, value: JsonValue) -> str:
    """`a.b=c` with the value in YAML of one line."""
    return f"{key}={yaml.safe_dump(value, default_flow_style=True, width=float('inf')).removesuffix('...' + chr(10)).strip()}"


def holds_grid(folder: Path) -> bool:
    """Whether it is the folder of an experiment."""
    return (folder / _GRID).is_file()


def read_layout(folder: Path) -> Layout:
    """The experiment that a folder holds; raises NotFound where it holds none, BrokenArtefact where its grid is damaged."""
    path = folder / _GRID
    if not path.is_file():
        raise NotFound(f"{folder}: no experiment", hint="`nbclip experiment GRID --out FOLDER` makes one")
    try:
        return Layout(Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))), folder)
    except (yaml.YAMLError, ValidationError) as error:
        raise BrokenArtefact(f"{path}: damaged: {str(error).splitlines()[0]}", hint="the same command writes it anew") from error


def scored_part(layout: Layout) -> Layout:
    """The seeds, and of them the KG seeds, of which every arm is scored on every set: an experiment as far as it is.

    Raises:
        NotFound: no seed is.
    """
    grid = layout.grid
    done = {
        run
        for run in layout.reported()
        if all((layout.evaluation_dir(run, pictures) / "metrics.json").is_file() for pictures in grid.sets)
    }
    seeds = tuple(seed for seed in grid.seeds if all(Run(arm, seed, grid.kg_seeds_of(arm)[0]) in done for arm in grid.trained))
    if not seeds:
        raise NotFound(
            f"{layout.folder}: no seed is scored in every arm yet ({len(done)} of {len(layout.reported())} runs are)",
            hint="`nbclip experiment` goes on where it was stopped; finished runs can be compared by their folders",
        )
    has_kg_seeds = [arm for arm in grid.trained if grid.kg_seeds_of(arm) != (None,)]
    kg_seeds = tuple(
        kg_seed for kg_seed in grid.kg_seeds if all(Run(arm, seed, kg_seed) in done for arm in has_kg_seeds for seed in seeds)
    )
    return replace(layout, grid=grid.model_copy(update={"seeds": seeds, "kg_seeds": kg_seeds}))


def keep_grid(layout: Layout) -> None:
    """Writes the grid into the folder; raises Conflict if another experiment lies there.

    Seeds, KG seeds, sets, arms, tables and claims may be added, since that changes no run that is there.
    """
    path = layout.folder / _GRID
    layout.folder.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        before, now = Grid.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))), layout.grid
        fixed = ("preset", "set", "linked_cuis", "choose", "endpoint", "minimum_class_size")
        changed = [name for name in fixed if getattr(before, name) != getattr(now, name)]
        changed += [f"arms.{name}" for name in before.arms if name in now.arms and _trains(before, name) != _trains(now, name)]
        if changed:
            raise Conflict(
                f"{path}: another experiment lies there, changed: {', '.join(changed)}",
                hint="undo the change or choose another --out",
            )
    with replacing(path) as new:
        new.write_text(yaml.safe_dump(layout.grid.model_dump(mode="json"), sort_keys=False, allow_unicode=True), encoding="utf-8")


def _trains(grid: Grid, name: str) -> object:
    arm = grid.arms[name]
    recipe = grid.snapshots[arm.snapshot] if arm.snapshot else None
    return arm.model_dump(exclude={"title", "control", "paper"}), recipe
