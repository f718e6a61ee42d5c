"""Noise: random unit vectors, fixed per image by seed. The control that any knowledge must beat.

An image has a vector exactly where the real representations give it one, so that the two differ only in who the
neighbours are. With 64 dimensions the largest of some hundred random cosines is well above the target builder's floor:
the target rows get the same form as those of real knowledge.

Numbers are sums of four 16-bit ones, which are nearly normal (Irwin-Hall), from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)
with the image's own start: integers but for the last scaling, so every machine has the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

import numba
import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.contributions import nothing
from kg_service.representations.model import (
    Card,
    Contributions,
    ImageVectors,
    Method,
    Positions,
    Tables,
    Variants,
    added_later,
    of_card,
)

_compiled = numba.njit(nogil=True, cache=True)


@dataclass(frozen=True, slots=True)
class Noise:
    """Parameters. `generator`: `splitmix64`, or `pcg64`, numpy's own, in snapshots of before."""

    dimension: Annotated[int, Field(ge=1, le=4_096, description="dimensions of the noise")] = 64
    seed: Annotated[int, Field(ge=0, description="seed; the noise depends on it and on the image id")] = 42
    generator: str = field(default="splitmix64", metadata=added_later("pcg64"))

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
        rows = np.flatnonzero(known)
        digests = [hashlib.sha256(f"{self.parameters.seed}:{image_ids[row]}".encode()).digest() for row in rows.tolist()]
        dense = np.zeros((len(image_ids), self.parameters.dimension), np.float32)
        if self.parameters.generator == "pcg64":
            for row, digest in zip(rows.tolist(), digests, strict=True):
                dense[row] = _by_pcg64(digest, self.parameters.dimension)
        else:
            starts = np.frombuffer(b"".join(digest[:8] for digest in digests), ">u8").astype(np.uint64)
            _fill(starts, rows, dense)
        return ImageVectors(sparse.csr_array((len(image_ids), 0), dtype=np.float32), dense)

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
        named = asdict(self.parameters)
        if self.parameters.generator == "pcg64":
            del named["generator"]
        return {"method": "noise", **named, "inductive": "any image with a known concept"}


def _by_pcg64(digest: bytes, dimension: int) -> npt.NDArray[np.float64]:
    vector = np.random.default_rng(int.from_bytes(digest[:16])).standard_normal(dimension)
    return vector / np.linalg.norm(vector)


@_compiled
def _fill(starts, rows, dense):  # type: ignore[no-untyped-def]
    """Unit vectors of images into these rows, each by its own start."""
    numbers = np.empty(dense.shape[1])
    for n in range(len(rows)):
        state, square = starts[n], 0.0
        for k in range(len(numbers)):
            state += np.uint64(0x9E3779B97F4A7C15)
            z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
            total = np.int64(0)
            for shift in (0, 16, 32, 48):
                total += np.int64((z >> np.uint64(shift)) & np.uint64(0xFFFF))
            numbers[k] = total - 2 * 0xFFFF
            square += numbers[k] * numbers[k]
        for k in range(len(numbers)):
            dense[rows[n], k] = numbers[k] / np.sqrt(square)


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
