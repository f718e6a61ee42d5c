"""The half-split test: the graph holds half A of the concepts, half B judges the neighbours.

Shape legend: N images, P images of a pool, K concepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from corpus import Image, frequencies
from scipy import sparse
from scipy.sparse import csgraph

POOL = 1_024
_LEAST_FREQUENCY, _LEAST_JACCARD = 5, 0.5
_RARE = 0.05


@dataclass(frozen=True, slots=True)
class Pool:
    """What half B says of a pool.

    Attributes:
        rows: positions of the pool's images, [P].
        gain: cosine of the IDF-weighted concepts of half B, 0 on the diagonal, float32, [P, P].
        rare: whether two images share a concept of half B that at most 5 % of the images have, bool, [P, P].
    """

    rows: npt.NDArray[np.int64]
    gain: npt.NDArray[np.float32]
    rare: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Trial:
    """One split of the concepts: what the graph may hold of each image, and the pools judged by the rest."""

    seen: list[list[str]]
    pools: list[Pool]


def concept_groups(images: Sequence[Image]) -> Mapping[str, int]:
    """Concepts that one keyword brings together have one number: Jaccard of their images ≥ .5, each in 5 images or more."""
    counts = frequencies(images)
    cuis = sorted(counts)
    has_NK = incidence([image.cuis for image in images], cuis)
    both = sparse.coo_array(has_NK.T @ has_NK)
    df_K = np.array([counts[cui] for cui in cuis])
    either = df_K[both.row] + df_K[both.col] - both.data
    alike = (both.data >= _LEAST_JACCARD * either) & (df_K[both.row] >= _LEAST_FREQUENCY) & (df_K[both.col] >= _LEAST_FREQUENCY)
    links = sparse.csr_array((np.ones(alike.sum()), (both.row[alike], both.col[alike])), shape=both.shape)
    _, group_K = csgraph.connected_components(links, directed=False)
    return dict(zip(cuis, group_K.tolist(), strict=True))


def trial(
    images: Sequence[Image], judges: Sequence[Image], groups: Mapping[str, int], seed: int, swapped: bool, pool: int = POOL
) -> Trial:
    """A trial.

    Args:
        images: what the graph is made of; its concepts of half A are shown.
        judges: the same images; their concepts of half B make the gain.
        groups: number of each concept's group; a group is on one side.
        seed: of the split and of the pools.
        swapped: the other half is shown.
        pool: images of a pool, about: all pools are of one size, or one larger.
    """
    rng = np.random.default_rng(seed)
    is_a_half = rng.random(max(groups.values()) + 1) < 0.5
    order = rng.permutation(len(images))
    shown = {cui for cui, group in groups.items() if is_a_half[group] != swapped}
    hidden = groups.keys() - shown
    # A concept that only one of two linkings knows has no group: it may be shown, and never judges.
    seen = [sorted(cui for cui in image.cuis if cui not in hidden) for image in images]
    return Trial(seen, _pools([image.cuis & hidden for image in judges], order, pool))


def _pools(cuis: Sequence[frozenset[str]], order: npt.NDArray[np.int64], pool: int) -> list[Pool]:
    columns = sorted(set().union(*cuis))
    has_NK = incidence(cuis, columns)
    df_K = np.bincount(has_NK.indices, minlength=len(columns))
    idf_K = np.log((len(cuis) + 1) / (df_K + 0.5)).clip(min=0.05)
    weighted_NK = sparse.csr_array(has_NK * idf_K[None, :])
    length_N = np.sqrt(weighted_NK.multiply(weighted_NK).sum(axis=1))
    unit_NK = sparse.csr_array(sparse.diags_array(1 / np.where(length_N > 0, length_N, 1)) @ weighted_NK).astype(np.float32)
    rare_NK = sparse.csr_array(has_NK[:, np.flatnonzero(df_K <= _RARE * len(cuis))])
    return [_pool(unit_NK, rare_NK, rows) for rows in np.array_split(order, max(1, round(len(order) / pool)))]


def _pool(unit_NK: sparse.csr_array, rare_NK: sparse.csr_array, rows: npt.NDArray[np.int64]) -> Pool:
    gain = (unit_NK[rows] @ unit_NK[rows].T).toarray()
    rare = (rare_NK[rows] @ rare_NK[rows].T).toarray() > 0
    np.fill_diagonal(gain, 0)
    np.fill_diagonal(rare, False)
    return Pool(rows, gain, rare)


def incidence(cuis: Sequence[frozenset[str]] | Sequence[Sequence[str]], columns: Sequence[str]) -> sparse.csr_array:
    """1.0 where the image has the concept; CSR, [N, K]."""
    key = {cui: index for index, cui in enumerate(columns)}
    pairs = [(row, key[cui]) for row, each in enumerate(cuis) for cui in sorted(each)]
    row, column = np.array(pairs, np.int64).reshape(-1, 2).T
    return sparse.csr_array((np.ones(len(row)), (row, column)), shape=(len(cuis), len(columns)))
