"""A grid: what an experiment trains, on which pictures it is judged, and what its author claimed beforehand.

A grid is a YAML file of these models; `extends: NAME` lays it over another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, Self

from nbclip.schemas.base import Strict
from pydantic import Field, JsonValue, field_validator, model_validator

from nbclip_trainer.experiments.snapshots import Recipe
from nbclip_trainer.runs.settings import BestBy

EVERY_ARM = "all"
Overrides = tuple[str, ...]
Paper = dict[str, dict[str, float]]
"""Task to metric, as `queries.parquet` names them, to per cent, or for a comparison to points."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class PictureSet(Strict):
    """Pictures that are reported: a split, or those rows of it that have one of these values in each of the columns."""

    split: str = "retrieval"
    where: dict[str, tuple[str, ...]] = Field({})


class Choice(Strict):
    """How every arm's free settings are chosen: of all combinations, the best mean over seeds on the validation split.

    Arms that are chosen `jointly` take the same combination, the one of the best mean over these arms.
    """

    by: BestBy = "precision_at_10"
    seeds: tuple[int, ...] = Field((101,), min_length=1, description="none of those that are reported")
    kg_seeds: tuple[int, ...] = Field((101,), min_length=1, description="taken in turn with the seeds; none that is reported")
    settings: dict[str, tuple[JsonValue, ...]] = Field({}, description="candidates by key of the settings")
    jointly: tuple[tuple[str, ...], ...] = Field((), description="groups of arms that take the same candidate")

    def group_of(self, arm: str) -> tuple[str, ...]:
        """The arms that an arm is chosen with, itself among them."""
        return next((group for group in self.jointly if arm in group), (arm,))


class Control(Strict):
    """What an arm must be for its tables to say anything: `of` is another arm's name, or `all` the other trained arms."""

    of: str
    must: Literal["above", "equal", "below"]


class Arm(Strict):
    """A row of the tables.

    A trained arm has settings over the grid's. One that `starts_from` another goes on from that one's run of the same seed, with
    what was chosen for it. An arm that has a `ranker` is not trained: it is what the runs of the arm `reads` say of that ranker,
    such as `backbone`, the features of locked towers before the projections, or `trained backbone`, those of towers that train.
    """

    title: str = Field(..., min_length=1)
    preset: str | None = Field(None, description="in the place of the grid's")
    set: Overrides = ()
    snapshot: str | None = Field(None, description="a name of `snapshots`")
    choose: dict[str, tuple[JsonValue, ...]] | None = Field(None, description="candidates in the place of choose.settings")
    starts_from: str | None = Field(None, description="the arm whose last weights it begins with, and whose choice it takes")
    control: Control | None = None
    ranker: Literal["model", "backbone", "trained backbone", "raw pixels", "chance"] = "model"
    reads: str | None = None
    paper: Paper = Field({})

    @property
    def is_trained(self) -> bool:
        """Whether it has runs of its own."""
        return self.ranker == "model"

    @property
    def scored(self) -> str:
        """Its ranker as evaluations name it."""
        return self.ranker.removeprefix("trained ")

    @model_validator(mode="after")
    def _another_ranker_is_read(self) -> Self:
        if self.is_trained == (self.reads is not None):
            raise ValueError("ranker and reads belong together: `ranker: backbone, reads: ARM` is what ARM's towers see")
        own = [name for name in ("preset", "set", "snapshot", "choose", "starts_from") if getattr(self, name)]
        if own and not self.is_trained:
            raise ValueError(f"{own[0]} is of an arm that is trained, and ranker={self.ranker!r} is not")
        return self


class Comparison(Strict):
    """A claim on the difference of two arms; `paper` only where it is not that of the two arms' figures."""

    first: str
    second: str
    claim: str = Field(..., min_length=1)
    primary: bool = False
    paper: Paper = Field({})


class Endpoint(Strict):
    """What was decided on before the run: a metric, and the smallest difference that matters, in points."""

    metric: str = "P@10"
    smallest_effect: float = Field(1.0, gt=0)


class Table(Strict):
    """Some of the arms, in this order."""

    title: str = Field(..., min_length=1)
    arms: tuple[str, ...] = Field(..., min_length=1)


class Grid(Strict):
    """An experiment: every trained arm with every seed, and with every KG seed where its snapshot has one."""

    description: str = ""
    preset: str
    set: Overrides = ()
    seeds: tuple[int, ...] = Field(..., min_length=1)
    kg_seeds: tuple[int, ...] = Field((1,), min_length=1)
    sets: dict[str, PictureSet] = Field({"retrieval": PictureSet()}, min_length=1)
    linked_cuis: bool = Field(False, description="also CUI@K by the concepts that the service's linker finds in captions")
    choose: Choice | None = None
    snapshots: dict[str, Recipe] = Field({})
    arms: dict[str, Arm] = Field(..., min_length=1)
    tables: dict[str, Table] = Field({}, description="none: one table of all arms")
    comparisons: tuple[Comparison, ...] = ()
    endpoint: Endpoint = Endpoint()
    minimum_class_size: int = Field(30, ge=2, description="smaller classes are distractors, never queries")

    @property
    def trained(self) -> dict[str, Arm]:
        """The arms that have runs of their own."""
        return {name: arm for name, arm in self.arms.items() if arm.is_trained}

    @property
    def all_tables(self) -> dict[str, Table]:
        """The tables, or the one of all arms."""
        return self.tables or {"all": Table(title=self.description or "all arms", arms=tuple(self.arms))}

    def kg_seeds_of(self, arm: str) -> tuple[int | None, ...]:
        """The KG seeds of an arm; one None where its snapshot has none."""
        snapshot = self.arms[arm].snapshot
        return self.kg_seeds if snapshot is not None and self.snapshots[snapshot].has_kg_seed else (None,)

    def candidates(self, arm: str) -> list[dict[str, JsonValue]]:
        """Every combination of an arm's candidates; one without settings where nothing is chosen."""
        if self.arms[arm].starts_from is not None:
            return [{}]
        free = self.choose.settings if self.choose else {}
        free = free if self.arms[arm].choose is None else (self.arms[arm].choose or {})
        return [dict(zip(free, values, strict=True)) for values in product(*free.values())]

    @property
    def first_candidates(self) -> dict[str, dict[str, JsonValue]]:
        """Of each trained arm, for what does not depend on the choice."""
        return {arm: self.candidates(arm)[0] for arm in self.trained}

    def paper_difference(self, comparison: Comparison) -> dict[tuple[str, str], float]:
        """The paper's difference in points by task and metric, of what it gives of both arms."""
        if comparison.paper:
            return dict(_flat(comparison.paper))
        first, second = (dict(_flat(self.arms[name].paper)) for name in (comparison.first, comparison.second))
        return {place: round(first[place] - second[place], 4) for place in first if place in second}

    @field_validator("seeds", "kg_seeds")
    @classmethod
    def _seeds_are_distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"{list(seeds)} are not distinct whole numbers from 0")
        return seeds

    @field_validator("sets", "arms", "snapshots", "tables")
    @classmethod
    def _names_are_folders(cls, named: dict[str, Any]) -> dict[str, Any]:
        for name in named:
            if not _NAME.fullmatch(name) or name == EVERY_ARM:
                raise ValueError(f"{name!r} is no name: small letters, digits, _ and -, and not {EVERY_ARM!r}")
        return named

    @model_validator(mode="after")
    def _names_are_there(self) -> Self:
        for where, name, kind, known in self._named():
            if name not in known:
                raise ValueError(f"{where}={name!r}: no such {kind}; there are: {', '.join(known) or 'none'}")
        return self

    def _named(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Where a name of this grid is used: place, name, what it must be and which there are."""
        arms = list(self.arms)
        for arm_of_group in (arm for group in (self.choose.jointly if self.choose else ()) for arm in group):
            yield "choose.jointly", arm_of_group, "trained arm", list(self.trained)
        for name, arm in self.arms.items():
            if arm.snapshot is not None:
                yield f"arms.{name}.snapshot", arm.snapshot, "snapshot", list(self.snapshots)
            if arm.starts_from is not None:
                begun = [name for name, other in self.trained.items() if other.starts_from is None]
                yield f"arms.{name}.starts_from", arm.starts_from, "trained arm that starts from none", begun
            if arm.reads is not None:
                yield f"arms.{name}.reads", arm.reads, "trained arm", list(self.trained)
            if arm.control is not None and arm.control.of != EVERY_ARM:
                yield f"arms.{name}.control.of", arm.control.of, "arm", arms
        for place, comparison in enumerate(self.comparisons):
            yield f"comparisons.{place}.first", comparison.first, "arm", arms
            yield f"comparisons.{place}.second", comparison.second, "arm", arms
        for name, table in self.tables.items():
            yield from ((f"tables.{name}.arms", arm, "arm", arms) for arm in table.arms)

    @model_validator(mode="after")
    def _nothing_is_chosen_on_what_is_reported(self) -> Self:
        own = [name for name, arm in self.arms.items() if arm.choose is not None]
        if self.choose is None:
            if own:
                raise ValueError(f"arms.{own[0]}.choose: the grid has no `choose`, which says by what and with which seeds")
            return self
        for key, reported in (("seeds", self.seeds), ("kg_seeds", self.kg_seeds)):
            if shared := sorted({*getattr(self.choose, key)} & {*reported}):
                raise ValueError(f"choose.{key}={shared}: these are reported; nothing is chosen on what is reported")
        budgets = {name: len(self.candidates(name)) for name, arm in self.trained.items() if arm.starts_from is None}
        if len(set(budgets.values())) > 1:
            counts = ", ".join(f"{name} {count}" for name, count in budgets.items())
            raise ValueError(f"arms have different numbers of candidates ({counts}); an equal budget needs as many of each")
        return self

    @model_validator(mode="after")
    def _what_is_chosen_jointly_can_be(self) -> Self:
        grouped = [arm for group in (self.choose.jointly if self.choose else ()) for arm in group]
        for arm in grouped:
            if grouped.count(arm) > 1:
                raise ValueError(f"choose.jointly: {arm!r} is there twice")
            if self.arms[arm].starts_from is not None:
                raise ValueError(f"choose.jointly: {arm!r} starts from another arm, whose choice it takes")
            if self.arms[arm].choose is not None:
                raise ValueError(f"arms.{arm}.choose: candidates of its own, and it is chosen jointly with others")
        return self

    @model_validator(mode="after")
    def _starts_are_one_run(self) -> Self:
        for name, arm in self.arms.items():
            if arm.starts_from is None:
                continue
            if arm.choose is not None:
                raise ValueError(f"arms.{name}.choose: it starts from {arm.starts_from}, whose choice it takes")
            if self.kg_seeds_of(arm.starts_from) != (None,):
                raise ValueError(f"arms.{name}.starts_from={arm.starts_from!r}: that arm has a run of each KG seed, and not one")
        return self

    @model_validator(mode="after")
    def _one_claim_is_primary(self) -> Self:
        if self.comparisons and sum(one.primary for one in self.comparisons) != 1:
            raise ValueError("comparisons: exactly one is `primary: true`, the claim that was decided on before the run")
        return self


def _flat(paper: Paper) -> Iterator[tuple[tuple[str, str], float]]:
    return (((task, metric), value) for task, metrics in paper.items() for metric, value in metrics.items())
