"""What a representation is: graph in, a vector per image out, whose dot products are similarities.

One contract for all methods: similarity is symmetric, positive semi-definite, in [-1, 1] with diagonal 1; a new caption's
CUIs get a vector without refitting; the same graph and settings give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

Tables = Mapping[str, npt.NDArray[Any]]
"""Named arrays that a fitted representation consists of; a snapshot keeps them."""


@dataclass(frozen=True, slots=True)
class ImageVectors:
    """N unit vectors in two parts: x = [sparse, dense]; a row of zeros where the image has no usable CUI.

    Attributes:
        sparse: float32 CSR, [N, A].
        dense: float32, [N, d]; d may be 0.
    """

    sparse: sparse.csr_array
    dense: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.dense.shape[0])

    def take(self, rows: npt.NDArray[np.int64]) -> ImageVectors:
        """The vectors at `rows`, [R]; -1 gives a vector of zeros."""
        known = rows >= 0
        taken = ImageVectors(self.sparse[rows], self.dense[rows])
        if known.all():
            return taken
        return ImageVectors(
            sparse.csr_array(sparse.diags_array(known.astype(np.float32)) @ taken.sparse), taken.dense * known[:, None]
        )

    def has_knowledge(self) -> npt.NDArray[np.bool_]:
        """h: bool, [N], False where the vector is zero."""
        known: npt.NDArray[np.bool_] = (abs(self.sparse).sum(axis=1) > 0) | (self.dense != 0).any(axis=1)
        return known


class FittedRepresentation(Protocol):
    """A method fitted on a graph (`Hybrid().fit(graph)`), its tables frozen."""

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Vectors of images with these present CUIs, in order; CUIs unknown to the tables are left out."""

    def tables(self) -> Tables:
        """What to keep to restore it."""

    def settings(self) -> dict[str, float | int | str]:
        """Method and parameters, for the snapshot's manifest."""
