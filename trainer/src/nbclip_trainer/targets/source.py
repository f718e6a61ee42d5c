"""Sources of similarities that need no service and no file: identity and noise.

Shape legend: R rows (one rank's images), C columns (the global batch), D dimensions of a noise vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from nbclip.codec import TargetMatrix
from nbclip.vectors import VectorBatch

_DIMENSIONS = 64


Answer = TargetMatrix | VectorBatch
"""What a source gives for a batch: the similarities, or the vectors whose products they are."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a snapshot knows of a dataset: ids it lacks, and the share of the others without a usable CUI."""

    unknown: list[str]
    without_knowledge: float


class TargetSource(Protocol):
    """Gives the similarities of a batch."""

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> Answer:
        """Similarities in [-1, 1] of the rows' to the columns' images, [R, C], or vectors of the columns' images, whose products
        they are, [C]; and which columns have knowledge. Rows are among the columns."""
        ...

    def close(self) -> None:
        """Gives back what the source holds."""
        ...


@dataclass(frozen=True, slots=True)
class IdentitySource:
    """An image is like itself alone and nothing is known of it: every target row is one-hot."""

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> TargetMatrix:
        """See `TargetSource`; no column has knowledge."""
        same_RC = np.asarray(row_ids)[:, None] == np.asarray(column_ids)[None, :]
        return _matrix(same_RC.astype(np.float32), np.zeros(len(column_ids), np.bool_))

    def close(self) -> None:
        """Holds nothing."""


@dataclass(frozen=True, slots=True)
class NoiseSource:
    """Cosines of random unit vectors in 64 dimensions: the control, in which neighbours mean nothing.

    Attributes:
        seed: of all draws.
        per_step: draw anew for every batch instead of once per image.
    """

    seed: int
    per_step: bool

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> TargetMatrix:
        """See `TargetSource`; all columns have knowledge. Equal batches give equal noise on every rank and after a resume."""
        batch = hashlib.sha256("\0".join(column_ids).encode()).hexdigest() if self.per_step else ""
        vectors = {image_id: self._vector(batch, image_id) for image_id in {*row_ids, *column_ids}}
        row_RD, column_CD = (np.stack([vectors[image_id] for image_id in ids]) for ids in (row_ids, column_ids))
        return _matrix(np.clip(row_RD @ column_CD.T, -1, 1), np.ones(len(column_ids), np.bool_))

    def close(self) -> None:
        """Holds nothing."""

    def _vector(self, batch: str, image_id: str) -> npt.NDArray[np.float32]:
        digest = hashlib.sha256(f"{self.seed}:{batch}:{image_id}".encode()).digest()
        vector = np.random.default_rng(int.from_bytes(digest[:16], "big")).standard_normal(_DIMENSIONS)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def _matrix(similarity_RC: npt.NDArray[np.float32], has_knowledge_C: npt.NDArray[np.bool_]) -> TargetMatrix:
    return TargetMatrix("similarity", similarity_RC, has_knowledge_C, np.zeros_like(has_knowledge_C), {})
