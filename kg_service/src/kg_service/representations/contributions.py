"""Shares of a similarity that is a product of sums: of the concepts' vectors of one image with those of another.

Shape legend: L and R concepts of the left and the right image, d dimensions.
"""

from __future__ import annotations

import numpy as np

from kg_service.representations.model import Contributions, PairKind, Positions
from kg_service.representations.weights import Float64s


def pair_shares(left_Ld: Float64s, right_Rd: Float64s, scale: float) -> Float64s:
    """Share of each pair of concepts in scale · cosine(Σ left, Σ right); zeros where either sum is zero; [L, R]."""
    length = float(np.linalg.norm(left_Ld.sum(axis=0)) * np.linalg.norm(right_Rd.sum(axis=0)))
    product_LR: Float64s = left_Ld @ right_Rd.T
    return product_LR * (scale / length if length > 0 else 0.0)


def of_pairs(share_LR: Float64s, kind: PairKind, *, additive: bool, account: str) -> Contributions:
    """Contributions of pairs alone."""
    left, right = share_LR.shape
    return Contributions(
        meeting=np.zeros(0, np.int64),
        meeting_share=np.zeros(0),
        left_reaches=np.zeros((left, 0), np.bool_),
        right_reaches=np.zeros((right, 0), np.bool_),
        pair_share=share_LR,
        pair_kind=kind,
        additive=additive,
        account=account,
    )


def nothing(left: Positions, right: Positions, account: str) -> Contributions:
    """The account of a method whose vectors say nothing of concepts."""
    return of_pairs(np.zeros((len(left), len(right))), "learned", additive=False, account=account)
