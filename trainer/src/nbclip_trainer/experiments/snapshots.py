"""What a grid says of a snapshot that arms train by: a recipe, which the service publishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field

KG_SEED = "kg_seed"
"""What stands in a recipe for the number of a KG seed."""


class LabelledIsA(Strict):
    """is_a from each concept to the class of the training labels that it is most typical of, in each of these columns."""

    labels: tuple[str, ...] = Field(..., min_length=1)


class Shuffled(Strict):
    """The graph's edges with their targets shuffled: the parents of is_a, or the targets of each typed relation."""

    shuffled: int | Literal["kg_seed"]


class RarestConcepts(Strict):
    """Of each image's concepts only so many, the rarest."""

    rarest: int = Field(..., ge=1)


class Recipe(Strict):
    """A snapshot of the service: `POST /v1/snapshots`, with `kg_seed` in the place of a number that is one."""

    dataset: str | None = None
    split: str | None = Field("train", description="null: every image of the graph, which a run takes for a leak")
    representations: dict[str, dict[str, bool | int | float | str]] | None = Field(None, min_length=1)
    is_a: Shuffled | LabelledIsA | None = None
    relations: Shuffled | None = None
    concepts: RarestConcepts | None = None

    @property
    def has_kg_seed(self) -> bool:
        """Whether it makes another snapshot of each KG seed."""
        return KG_SEED in _values(self.model_dump())


def _values(tree: object) -> Iterator[object]:
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from _values(value)
    else:
        yield tree
