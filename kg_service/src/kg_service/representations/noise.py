"""Noise: random unit vectors, fixed per image by seed. The control that any knowledge must beat.

An image has a vector exactly where the real representations give it one, so that the two differ only in who the
neighbours are. With 64 dimensions the largest of some hundred random cosines is well above the target builder's floor:
the target rows get the same form as those of real knowledge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.contributions import nothing
from kg_service.representations.model import Card, Contributions, ImageVectors, Method, Positions, Tables, Variants, of_card


@dataclass(frozen=True, slots=True)
class Noise:
    """Parameters."""

    dimension: Annotated[int, Field(ge=1, le=4_096, description="dimensions of the noise")] = 64
    seed: Annotated[int, Field(ge=0, description="seed; the noise depends on it and on the image id")] = 42

    def fit(self, graph: Graph) -> FittedNoise:
        """Keeps the graph's CUIs, which decide where an image has a vector."""
        return FittedNoise(self, frozenset(graph.cuis))

    def variants(self, graph: Graph) -> Variants:
        """One form, `noise`."""
        return {"noise": self.fit(graph)}


@dataclass(frozen=True, slots=True)
class FittedNoise:
    """Noise over a graph."""

    parameters: Noise
    known_cuis: frozenset[str]

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Random unit vectors, [N, dimension]; zero where none of the image's CUIs is known."""
        return self._embed(image_ids, [not self.known_cuis.isdisjoint(image_cuis) for image_cuis in cuis])

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """As `embed`, of images that have these concepts."""
        return self._embed(image_ids, (np.diff(has_NM.indptr) > 0).tolist())

    def _embed(self, image_ids: Sequence[str], known: Sequence[bool]) -> ImageVectors:
        dense = np.zeros((len(image_ids), self.parameters.dimension), np.float32)
        for row, (image_id, is_known) in enumerate(zip(image_ids, known, strict=True)):
            if is_known:
                dense[row] = self._vector(image_id)
        return ImageVectors(sparse.csr_array((len(image_ids), 0), dtype=np.float32), dense)

    def _vector(self, image_id: str) -> npt.NDArray[np.float64]:
        digest = hashlib.sha256(f"{self.parameters.seed}:{image_id}".encode()).digest()
        vector = np.random.default_rng(int.from_bytes(digest[:16])).standard_normal(self.parameters.dimension)
        return vector / np.linalg.norm(vector)

    @property
    def follows_from_concepts(self) -> bool:
        """Always: they decide whether an image has a vector, and its id which."""
        return True

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """Nothing of the images brings it."""
        return nothing(left, right, f"Random by seed {self.parameters.seed}: nothing of the images brings it.")

    def tables(self) -> Tables:
        """None: the vectors follow from seed and image id."""
        return {}

    def card(self) -> Card:
        """Method and parameters."""
        return {"method": "noise", **asdict(self.parameters), "inductive": "any image with a known concept"}


def restore_noise(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedNoise:
    """The fitted representation that `card` came from."""
    return FittedNoise(of_card(Noise, card), frozenset(cuis))


METHOD = Method(
    name="noise",
    settings=Noise(),
    representation=lambda noise: noise,
    parameters=Noise,
    restore=restore_noise,
    stored=False,
)
