"""A representation of its own, as somebody outside would write it: concepts and their parents, all of one weight.

    x = l2(Σ_c (e_c + parents · Σ_p e_p))          c the image's concepts, p their parents; dk leaves the parents out

Shape legend: N images, M concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from kg_service.graph.store import Graph
from kg_service.representations.model import Card, Contributions, ImageVectors, Method, Positions, Tables, Variants, of_card
from kg_service.representations.weights import Float64s, is_a_matrix, unit_rows
from pydantic import Field
from scipy import sparse


@dataclass(frozen=True, slots=True)
class Bag:
    parents: Annotated[float, Field(ge=0, le=1, description="weight of a concept's parents")] = 0.5

    def variants(self, graph: Graph) -> Variants:
        own = np.eye(len(graph.cuis))
        return {"dk": FittedBag(self, own), "dk_ek": FittedBag(self, own + self.parents * is_a_matrix(graph).toarray())}


@dataclass(frozen=True, slots=True)
class FittedBag:
    parameters: Bag
    spread: Float64s

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        rows_NM = unit_rows(has_NM.astype(np.float64) @ self.spread).astype(np.float32)
        return ImageVectors(sparse.csr_array(rows_NM), np.zeros((len(image_ids), 0), np.float32))

    @property
    def follows_from_concepts(self) -> bool:
        return True

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        one_M, other_M = (unit_rows(self.spread[each].sum(axis=0, keepdims=True))[0] for each in (left, right))
        meeting = np.flatnonzero(one_M * other_M)
        return Contributions(
            meeting=meeting,
            meeting_share=(one_M * other_M)[meeting],
            left_reaches=self.spread[left][:, meeting] > 0,
            right_reaches=self.spread[right][:, meeting] > 0,
            pair_share=np.zeros((len(left), len(right))),
            pair_kind="learned",
            additive=True,
            account="Concepts and their parents.",
        )

    def tables(self) -> Tables:
        return {"spread": self.spread}

    def card(self) -> Card:
        return {"method": "bag", **asdict(self.parameters)}


def _restore(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedBag:
    return FittedBag(of_card(Bag, card), tables["spread"])


METHOD = Method(name="bag", settings=Bag(), representation=lambda bag: bag, parameters=Bag, restore=_restore)
