"""The CUI@K family: do retrieved images show the query's concepts?

The literature reports one "CUI@K" without a formula, so each reading has a name of its own. With C_q the query's concepts,
C_r those of the image at rank r, and K ranks:

    cui_precision@K     share of the K with C_q ∩ C_r not empty
    cui_overlap@K       mean of |C_q ∩ C_r| / |C_q|
    cui_overlap_rare@K  cui_overlap@K of rare concepts alone: those of at most 1 % of the gallery's images, or of two
    cui_jaccard@K       mean of |C_q ∩ C_r| / |C_q ∪ C_r|
    cui_coverage@K      |C_q ∩ (C_1 ∪ … ∪ C_K)| / |C_q|: rises with K by construction, and is lower for purer lists
    cui_nrel@K          Σ |C_q ∩ C_r| over that of the best possible K
    cui_onto@K          cui_overlap@K where a concept also matches its is_a ancestors and descendants

Shape legend: Q queries, G gallery, V distinct concepts, K ranks; memberships are 0/1 float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nbclip_trainer.evaluation.ranking import NOTHING
from nbclip_trainer.evaluation.retrieval import missed_by_chance

Float64 = npt.NDArray[np.float64]
Membership = npt.NDArray[np.float32]

_RARE = 0.01
"""Largest share of the images that have a rare concept."""


@dataclass(frozen=True, slots=True)
class ConceptSets:
    """The concepts of each image over one list of columns.

    Attributes:
        columns: the V distinct CUIs, sorted.
        member: 1 where the image has the concept, [G, V].
        matched: 1 where the image has the concept, an ancestor or a descendant of it, [G, V]; None without an ontology.
    """

    columns: tuple[str, ...]
    member: Membership
    matched: Membership | None


def concept_sets(cuis: Sequence[Collection[str]], ancestors: Mapping[str, Collection[str]] | None = None) -> ConceptSets:
    """Lays out each image's CUIs as a row; `ancestors` maps a CUI to all its is_a ancestors, None if there is no ontology."""
    columns = tuple(sorted({cui for image in cuis for cui in image}))
    column_of = {cui: column for column, cui in enumerate(columns)}
    member_GV = np.zeros((len(cuis), len(columns)), np.float32)
    for row, image in enumerate(cuis):
        member_GV[row, [column_of[cui] for cui in image]] = 1
    if ancestors is None:
        return ConceptSets(columns, member_GV, None)
    line_VV = np.eye(len(columns), dtype=np.float32)
    for cui, column in column_of.items():
        line_VV[column, [column_of[a] for a in ancestors.get(cui, ()) if a in column_of]] = 1
    matched_GV = (member_GV @ np.maximum(line_VV, line_VV.T) > 0).astype(np.float32)
    return ConceptSets(columns, member_GV, matched_GV)


def cui_figures(
    query_QV: Membership,
    gallery: ConceptSets,
    index_QK: npt.NDArray[np.int64],
    candidate_QG: npt.NDArray[np.bool_],
    ks: Sequence[int],
) -> dict[str, Float64]:
    """The family per query, each [0, 1], [Q]; NaN for a query without concepts.

    Args:
        query_QV: the queries' concepts over `gallery.columns`.
        gallery: the gallery's concepts.
        index_QK: rankings, at least max(ks) deep or as deep as the gallery.
        candidate_QG: True where a gallery item could be retrieved; the ideal ranking of `cui_nrel` is over these.
        ks: cut-offs.
    """
    size_Q = _nan_where_zero(query_QV.sum(axis=1))
    shared_QG = query_QV @ gallery.member.T
    ideal_QG = -np.sort(-np.where(candidate_QG, shared_QG, 0), axis=1)
    shared_QK = _at_ranks(shared_QG, index_QK)
    jaccard_QK = _at_ranks(_jaccard(query_QV, gallery), index_QK)
    onto_QK = None if gallery.matched is None else _at_ranks(query_QV @ gallery.matched.T, index_QK)
    rare_QV = query_QV * _is_rare(gallery)
    rare_size_Q, rare_QK = _nan_where_zero(rare_QV.sum(axis=1)), _at_ranks(rare_QV @ gallery.member.T, index_QK)
    figures: dict[str, Float64] = {}
    for k in ks:
        best_Q = _nan_where_zero(ideal_QG[:, :k].sum(axis=1))
        seen_QV = _union(gallery.member, index_QK[:, :k])
        figures[f"cui_precision@{k}"] = _known((shared_QK[:, :k] > 0).sum(axis=1) / k, size_Q)
        figures[f"cui_overlap@{k}"] = shared_QK[:, :k].sum(axis=1) / size_Q / k
        figures[f"cui_overlap_rare@{k}"] = rare_QK[:, :k].sum(axis=1) / rare_size_Q / k
        figures[f"cui_jaccard@{k}"] = _known(jaccard_QK[:, :k].sum(axis=1) / k, size_Q)
        figures[f"cui_coverage@{k}"] = (query_QV * seen_QV).sum(axis=1) / size_Q
        figures[f"cui_nrel@{k}"] = shared_QK[:, :k].sum(axis=1) / best_Q
        if onto_QK is not None:
            figures[f"cui_onto@{k}"] = onto_QK[:, :k].sum(axis=1) / size_Q / k
    return figures


def cui_chance(
    query_QV: Membership, gallery: ConceptSets, candidate_QG: npt.NDArray[np.bool_], ks: Sequence[int]
) -> dict[str, Float64]:
    """Expectation of `cui_figures` over all orders of the candidates; arguments as there.

    Means over the candidates, but for coverage: one less the probability that the first k miss a concept.
    """
    size_Q = _nan_where_zero(query_QV.sum(axis=1))
    n_Q = candidate_QG.sum(axis=1)
    allowed_QG = candidate_QG / np.maximum(n_Q, 1)[:, None]
    shared_QG = query_QV @ gallery.member.T
    overlap_Q = (shared_QG * allowed_QG).sum(axis=1) / size_Q
    rare_QV = query_QV * _is_rare(gallery)
    rare_overlap_Q = ((rare_QV @ gallery.member.T) * allowed_QG).sum(axis=1) / _nan_where_zero(rare_QV.sum(axis=1))
    carriers_QV = candidate_QG.astype(np.float32) @ gallery.member
    row, column = np.nonzero(query_QV)
    carriers = carriers_QV[row, column].astype(np.float64)
    ideal_QG = -np.sort(-np.where(candidate_QG, shared_QG, 0), axis=1)
    figures: dict[str, Float64] = {}
    for k in ks:
        filled_Q = np.minimum(n_Q, k) / k
        figures[f"cui_precision@{k}"] = _known(((shared_QG > 0) * allowed_QG).sum(axis=1) * filled_Q, size_Q)
        figures[f"cui_overlap@{k}"] = overlap_Q * filled_Q
        figures[f"cui_overlap_rare@{k}"] = rare_overlap_Q * filled_Q
        figures[f"cui_jaccard@{k}"] = _known((_jaccard(query_QV, gallery) * allowed_QG).sum(axis=1) * filled_Q, size_Q)
        found = 1 - missed_by_chance(n_Q[row], carriers, k)
        figures[f"cui_coverage@{k}"] = np.bincount(row, found, minlength=len(query_QV)) / size_Q
        figures[f"cui_nrel@{k}"] = overlap_Q * size_Q * np.minimum(n_Q, k) / _nan_where_zero(ideal_QG[:, :k].sum(axis=1))
        if gallery.matched is not None:
            matched_Q = ((query_QV @ gallery.matched.T) * allowed_QG).sum(axis=1)
            figures[f"cui_onto@{k}"] = matched_Q / size_Q * filled_Q
    return figures


def _is_rare(gallery: ConceptSets) -> npt.NDArray[np.bool_]:
    """Concepts that few images have, [V]."""
    rare_V: npt.NDArray[np.bool_] = gallery.member.sum(axis=0) <= max(_RARE * len(gallery.member), 2)
    return rare_V


def _jaccard(query_QV: Membership, gallery: ConceptSets) -> Float64:
    shared_QG = query_QV @ gallery.member.T
    union_QG = query_QV.sum(axis=1)[:, None] + gallery.member.sum(axis=1)[None, :] - shared_QG
    return np.asarray(shared_QG / np.maximum(union_QG, 1), np.float64)


def _at_ranks(value_QG: npt.NDArray[np.floating[Any]], index_QK: npt.NDArray[np.int64]) -> Float64:
    """Each query's values in the order of its ranking, 0 at empty ranks."""
    value_QK = np.take_along_axis(value_QG.astype(np.float64), index_QK, axis=1)
    return np.where(index_QK == NOTHING, 0.0, value_QK)


def _union(member_GV: Membership, index_QK: npt.NDArray[np.int64]) -> Membership:
    """The concepts that any retrieved image has, [Q, V]."""
    union_QV = np.zeros((len(index_QK), member_GV.shape[1]), np.float32)
    for index_Q in index_QK.T:
        np.maximum(union_QV, member_GV[index_Q] * (index_Q != NOTHING)[:, None], out=union_QV)
    return union_QV


def _nan_where_zero(value_Q: npt.NDArray[np.floating[Any]]) -> Float64:
    return np.where(value_Q > 0, value_Q, np.nan).astype(np.float64)


def _known(value_Q: Float64, size_Q: Float64) -> Float64:
    return np.where(np.isnan(size_Q), np.nan, value_Q)
