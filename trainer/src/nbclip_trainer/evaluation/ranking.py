"""Nearest images or captions of a gallery, best first: without the query's own case, or where its own pair comes.

Shape legend: Q queries, q queries of one chunk, G gallery items, D feature dimensions, K ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from nbclip.errors import InvalidInput

NOTHING = -1
"""Stands in a ranking where a query has fewer candidates than ranks."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The gallery as some queries see it.

    Attributes:
        rows: which of the queries these are.
        index: gallery index by falling score, int64, [q, K], `NOTHING` past a query's last candidate.
        score: cosine, float32, [q, K], -inf past the last candidate.
        candidates: how many gallery items stand outside the query's case, int64, [q].
    """

    rows: slice
    index: npt.NDArray[np.int64]
    score: npt.NDArray[np.float32]
    candidates: npt.NDArray[np.int64]


def rank(
    query_QD: npt.NDArray[np.float32],
    gallery_GD: npt.NDArray[np.float32],
    query_case_Q: npt.NDArray[np.int64],
    gallery_case_G: npt.NDArray[np.int64],
    *,
    depth: int | None = None,
    chunk: int = 512,
    device: str = "cpu",
) -> Iterator[Ranking]:
    """Ranks the gallery for each query by falling cosine, ties by rising gallery index.

    A gallery item of the query's case is no candidate: images of one case are near-copies, and with them inside raw
    pixels retrieve better than a trained model. An image is of its own case.

    Args:
        query_QD: L2-normalised features, float32, [Q, D].
        gallery_GD: L2-normalised features, float32, [G, D].
        query_case_Q: code of each query's case, [Q]; a code that the gallery lacks excludes nothing.
        gallery_case_G: code of each gallery item's case, [G].
        depth: K, how many ranks to keep; None: all G.
        chunk: queries ranked at a time; bounds the memory to chunk x G scores.
        device: torch device that multiplies and sorts.

    Yields:
        One `Ranking` a chunk, in the order of the queries.

    Raises:
        InvalidInput: features of different width, or not finite.
    """
    _check(query_QD, gallery_GD)
    gallery_DG = torch.from_numpy(gallery_GD).to(device).T
    case_G = torch.from_numpy(gallery_case_G).to(device)
    kept = min(depth or len(gallery_GD), len(gallery_GD))
    for start in range(0, len(query_QD), chunk):
        rows = slice(start, min(start + chunk, len(query_QD)))
        own_qG = torch.from_numpy(query_case_Q[rows]).to(device)[:, None] == case_G
        score_qG = (torch.from_numpy(query_QD[rows]).to(device) @ gallery_DG).masked_fill_(own_qG, -torch.inf)
        # A stable sort is the tie rule itself; torch.topk leaves the order of equal scores open.
        score_qG, index_qG = score_qG.sort(dim=1, descending=True, stable=True)
        index_qK = index_qG[:, :kept].masked_fill(score_qG[:, :kept].isneginf(), NOTHING)
        yield Ranking(rows, index_qK.cpu().numpy(), score_qG[:, :kept].cpu().numpy(), (~own_qG).sum(dim=1).cpu().numpy())


def first_right(
    query_QD: npt.NDArray[np.float32],
    gallery_GD: npt.NDArray[np.float32],
    query_key_Q: npt.NDArray[np.int64],
    gallery_key_G: npt.NDArray[np.int64],
    *,
    chunk: int = 512,
    device: str = "cpu",
) -> npt.NDArray[np.int64]:
    """The rank, from 1, of the first gallery item with the query's key, in the order of `rank`: int64, [Q].

    Args:
        query_QD: L2-normalised features, float32, [Q, D].
        gallery_GD: L2-normalised features, float32, [G, D]. All of them are candidates.
        query_key_Q: which items are right for each query; the gallery has each of these keys.
        gallery_key_G: what each item is right for.
        chunk: queries ranked at a time; bounds the memory to chunk x G scores.
        device: torch device that multiplies and counts.

    Raises:
        InvalidInput: features of different width, or not finite.
    """
    _check(query_QD, gallery_GD)
    gallery_DG, key_G = torch.from_numpy(gallery_GD).to(device).T, torch.from_numpy(gallery_key_G).to(device)
    place_G = torch.arange(len(gallery_GD), device=device)
    ranks = [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(query_QD), chunk):
        rows = slice(start, start + chunk)
        score_qG = torch.from_numpy(query_QD[rows]).to(device) @ gallery_DG
        right_qG = torch.from_numpy(query_key_Q[rows]).to(device)[:, None] == key_G
        best_q1 = score_qG.masked_fill(~right_qG, -torch.inf).amax(dim=1, keepdim=True)
        tied_qG = score_qG == best_q1
        first_q1 = torch.where(right_qG & tied_qG, place_G, len(place_G)).amin(dim=1, keepdim=True)
        ahead_qG = (score_qG > best_q1) | (tied_qG & (place_G < first_q1))
        ranks.append(1 + ahead_qG.sum(dim=1).cpu())
    return torch.cat(ranks).numpy()


def _check(query_QD: npt.NDArray[np.float32], gallery_GD: npt.NDArray[np.float32]) -> None:
    if query_QD.shape[1:] != gallery_GD.shape[1:]:
        raise InvalidInput(
            f"queries are {query_QD.shape[1]} wide and the gallery {gallery_GD.shape[1]}",
            hint="rank features of one space against each other",
        )
    for name, features in (("query", query_QD), ("gallery", gallery_GD)):
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(bad):
            raise InvalidInput(
                f"{len(bad)} {name} features are not finite, first at row {bad[0]}", hint="check whether the training diverged"
            )
