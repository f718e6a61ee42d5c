"""What a target row says of other images, and how pure it is: no training, numpy alone.

    neighbours of a row   the columns that are neither its own nor, where duplicates are positives, have its caption
    Q                     the row's mass on its neighbours over its sum; a row without such mass has it all at its own column
    row purity            Σ_j Q_ij [class_j = class_i] / Σ_j Q_ij, over neighbours j with a label; of a row with a label
    chance                the same of a Q that is even over all neighbours
    effective neighbours  exp(entropy of Q)
    mass change           ½ Σ_j |Q_ij − Q'_ij| of two sources, [0, 1]; of rows for which one of them has neighbours

Shape legend: R rows, C columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

UNLABELLED = -1
"""The code of an image without a label."""


class Neighbours(NamedTuple):
    """Q, float64, [R, C], and the neighbours' mass before the division, [R], 0 where a row has none."""

    distribution: Float64
    mass: Float64

    @property
    def known(self) -> Bool:
        """Whether a row has neighbours, [R]."""
        return self.mass > 0

    @property
    def among_others(self) -> Float64:
        """Q where a row has neighbours, else 0, [R, C]."""
        return np.where(self.known[:, None], self.distribution, 0)


def neighbours_of(rows_RC: npt.NDArray[np.floating[Any]], own_R: Codes, neighbour_RC: Bool) -> Neighbours:
    """The neighbours' part of target rows.

    Args:
        rows_RC: target rows, each ≥ 0 with sum 1.
        own_R: column of each row's own image.
        neighbour_RC: which columns may be a row's neighbours.
    """
    part_RC = np.where(neighbour_RC, rows_RC, 0).astype(np.float64)
    mass_R = part_RC.sum(axis=1)
    own_RC = own_R[:, None] == np.arange(rows_RC.shape[1])[None]
    distribution_RC = np.divide(part_RC, mass_R[:, None], out=own_RC.astype(np.float64), where=mass_R[:, None] > 0)
    return Neighbours(distribution_RC, mass_R)


def row_purity(weight_RC: npt.NDArray[np.generic], class_R: Codes, class_C: Codes) -> Float64:
    """Share of each row's weight that is on columns of the row's class, [R].

    NaN where the row has no label, or no weight on columns that have one.

    Args:
        weight_RC: Q of rows with neighbours, or which columns may be neighbours, for chance.
        class_R: code of each row's class, `UNLABELLED` where it has none.
        class_C: code of each column's class.
    """
    labelled_RC = np.where(class_C[None] != UNLABELLED, weight_RC, 0).astype(np.float64)
    same_R = np.where(class_R[:, None] == class_C[None], labelled_RC, 0).sum(axis=1)
    total_R = np.where(class_R != UNLABELLED, labelled_RC.sum(axis=1), 0)
    share_R: Float64 = np.divide(same_R, total_R, out=np.full(len(class_R), np.nan), where=total_R > 0)
    return share_R


def effective_neighbours(found: Neighbours) -> Float64:
    """exp(entropy of Q) of each row, [R]; NaN where it has no neighbours."""
    part_RC = found.distribution
    logarithm_RC = np.log(part_RC, out=np.zeros_like(part_RC), where=part_RC > 0)
    return np.where(found.known, np.exp(-(part_RC * logarithm_RC).sum(axis=1)), np.nan)


def mass_change(first: Neighbours, second: Neighbours) -> Float64:
    """½ Σ_j |Q_ij − Q'_ij|, [R], in [0, 1]; NaN where neither has neighbours, 1 where one of them has."""
    change_R = np.abs(first.distribution - second.distribution).sum(axis=1) / 2
    return np.where(first.known | second.known, change_R, np.nan)
