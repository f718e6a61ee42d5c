"""Noise: random unit vectors, fixed per image by seed. The control that any knowledge must beat.

An image has a vector exactly where the real representations give it one, so that the two differ only in who the
neighbours are. With 64 dimensions the largest of some hundred random cosines is well above the target builder's floor:
the target rows get the same form as those of real knowledge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.model import ImageVectors, Tables


@dataclass(frozen=True, slots=True)
class Noise:
    """Parameters: `dimension` of the vectors, `seed` they depend on beside the image id."""

    dimension: int = 64
    seed: int = 42

    def fit(self, graph: Graph) -> FittedNoise:
        """Keeps the graph's CUIs, which decide where an image has a vector."""
        return FittedNoise(self, frozenset(graph.cuis))


@dataclass(frozen=True, slots=True)
class FittedNoise:
    """Noise over a graph."""

    parameters: Noise
    known_cuis: frozenset[str]

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Random unit vectors, [N, dimension]; zero where none of the image's CUIs is known."""
        dense = np.zeros((len(image_ids), self.parameters.dimension), np.float32)
        for row, (image_id, image_cuis) in enumerate(zip(image_ids, cuis, strict=True)):
            if not self.known_cuis.isdisjoint(image_cuis):
                dense[row] = self._vector(image_id)
        return ImageVectors(sparse.csr_array((len(image_ids), 0), dtype=np.float32), dense)

    def _vector(self, image_id: str) -> npt.NDArray[np.float64]:
        digest = hashlib.sha256(f"{self.parameters.seed}:{image_id}".encode()).digest()
        vector = np.random.default_rng(int.from_bytes(digest[:16])).standard_normal(self.parameters.dimension)
        return vector / np.linalg.norm(vector)

    def tables(self) -> Tables:
        """None: the vectors follow from seed and image id."""
        return {}

    def settings(self) -> dict[str, float | int | str]:
        """Method and parameters."""
        return {"method": "noise", "dimension": self.parameters.dimension, "seed": self.parameters.seed}
