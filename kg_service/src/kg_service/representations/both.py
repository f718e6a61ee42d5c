"""Both: the hybrid and TransE side by side, in one vector.

    x = [√(1 - w) · x_hybrid, √w · x_transe]      so S = (1 - w) · S_hybrid + w · S_transe

An image has a vector of the one where it has one of the other, so x is of length 1 where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations import hybrid, transe
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import (
    Card,
    Contributions,
    FittedRepresentation,
    ImageVectors,
    Method,
    Positions,
    Tables,
    Variants,
    of_card,
)
from kg_service.representations.transe import TransE

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Both:
    """Parameters: w, and those of the two methods."""

    weight: Annotated[
        float, Field(ge=0, le=1, description="TransE's share of the similarity of `both`; the rest is the hybrid's")
    ] = 0.5
    hybrid: Hybrid = field(default_factory=Hybrid)
    transe: TransE = field(default_factory=TransE)

    def variants(self, graph: Graph) -> Variants:
        """`dk` and `dk_ek`, each of the two methods' own."""
        first, second = self.hybrid.variants(graph), self.transe.variants(graph)
        return {knowledge: FittedBoth(self.weight, first[knowledge], second[knowledge]) for knowledge in first}


@dataclass(frozen=True, slots=True)
class FittedBoth:
    """Both methods, fitted on one graph."""

    weight: float
    hybrid: FittedRepresentation
    transe: FittedRepresentation

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """Unit vectors x of images that have these concepts; zero rows without a known CUI."""
        first, second = (part.embed_known(image_ids, has_NM) for part in (self.hybrid, self.transe))
        scale, other = (np.sqrt(np.float32(share)) for share in (1 - self.weight, self.weight))
        return ImageVectors(first.sparse * scale, np.concatenate([first.dense * scale, second.dense * other], axis=1))

    @property
    def follows_from_concepts(self) -> bool:
        """Not where TransE has learned vectors of the images themselves."""
        return self.transe.follows_from_concepts

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """Where concepts meet in the hybrid; what pairs of concepts bring in both, together."""
        first, second = (part.contributions(left, right) for part in (self.hybrid, self.transe))
        return Contributions(
            meeting=first.meeting,
            meeting_share=(1 - self.weight) * first.meeting_share,
            left_reaches=first.left_reaches,
            right_reaches=first.right_reaches,
            pair_share=(1 - self.weight) * first.pair_share + self.weight * second.pair_share,
            pair_kind="learned",
            additive=second.additive,
            account=f"The hybrid, {1 - self.weight:.2g} of it: {first.account} TransE, {self.weight:.2g} of it: {second.account}",
        )

    def tables(self) -> Tables:
        """Those of both."""
        return {**_named("hybrid", self.hybrid.tables()), **_named("transe", self.transe.tables())}

    def card(self) -> Card:
        """The weight, and the cards of both."""
        cards = self.hybrid.card(), self.transe.card()
        parts = _named("hybrid", cards[0]) | _named("transe", cards[1])
        return {"method": "both", "weight": self.weight, **parts, "inductive": cards[1]["inductive"]}


def restore_both(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedBoth:
    """The fitted representation that `card` and `tables` came from, but for images' own vectors, which the snapshot has."""
    return FittedBoth(
        float(card["weight"]),
        hybrid.METHOD.restore(_part("hybrid", card), cuis, _part("hybrid", tables)),
        transe.METHOD.restore(_part("transe", card), cuis, _part("transe", tables)),
    )


def both_of_card(card: Card) -> Both:
    """The parameters that a model card names; raises KeyError where it lacks one."""
    return Both(float(card["weight"]), of_card(Hybrid, _part("hybrid", card)), of_card(TransE, _part("transe", card)))


def _named(name: str, of: Mapping[str, Value]) -> dict[str, Value]:
    """What one of both has, under names that say so."""
    return {f"{name}_{key}": value for key, value in of.items()}


def _part(name: str, of: Mapping[str, Value]) -> dict[str, Value]:
    """What of it is of one of both, by its own names."""
    return {key.removeprefix(f"{name}_"): value for key, value in of.items() if key.startswith(f"{name}_")}


METHOD = Method(
    name="both",
    settings=Both(),
    representation=lambda both: both,
    parameters=Both,
    restore=restore_both,
    packages=transe.METHOD.packages,
    parts=("hybrid", "transe"),
    of_card=both_of_card,
)
