"""What else could stand above a concept, or bring the ontology into the learned part: variants of the default.

Is_a with part_of, with semantic types as ancestors, by one source alone; co-occurrence counted for ancestors too; co-occurrence
vectors drawn towards those of parents and children (retrofitting: Faruqui et al., NAACL 2015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from corpus import data_folder, graph_of, is_a_edges, vocabulary
from kg_service.graph.store import Graph
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.hybrid.ancestors import ancestor_content, nearness
from kg_service.representations.hybrid.cooccurrence import cooccurrence_vectors
from kg_service.representations.model import ImageVectors
from kg_service.representations.weights import attribute_matrix, is_a_matrix, together
from methods import Cuis, Method, fitted
from scipy import sparse

_DEFAULT = Hybrid()
_ROUNDS = 10
Edges = list[tuple[str, str]]


def with_edges(above: Callable[[set[str]], Edges]) -> Callable[[Graph, Cuis], ImageVectors]:
    """The default on the same images, with the edges that `above` gives for their concepts in place of is_a."""

    def embed(graph: Graph, cuis: Cuis) -> ImageVectors:
        edges = above({cui for row in cuis for cui in row})
        return _DEFAULT.fit(graph_of(graph.image_ids, cuis, edges)).embed(graph.image_ids, cuis)

    return embed


def and_part_of(cuis: set[str]) -> Edges:
    """Is_a and part_of of everything above."""
    edges: set[tuple[str, str]] = set()
    while new := {*is_a_edges(cuis), *((cui, whole) for cui in cuis for whole in _part_of().get(cui, ()))} - edges:
        edges |= new
        cuis = {parent for _, parent in new}
    return sorted(edges)


def and_semantic_types(cuis: set[str]) -> Edges:
    """Is_a, and above each concept of the images and of is_a its semantic types."""
    edges = is_a_edges(cuis)
    named = cuis | {cui for edge in edges for cui in edge}
    return sorted({*edges, *((cui, tui) for cui in named if cui in vocabulary() for tui in vocabulary().semantic_types(cui))})


def by_source(*sources: str) -> Callable[[set[str]], Edges]:
    """Is_a that one of these sources says."""

    def above(cuis: set[str]) -> Edges:
        edges: set[tuple[str, str]] = set()
        while new := set(_said_by(cuis, sources)) - edges:
            edges |= new
            cuis = {parent for _, parent in new}
        return sorted(edges)

    return above


def _said_by(cuis: Iterable[str], sources: tuple[str, ...]) -> Edges:
    _, edges = vocabulary().is_a_closure(cui for cui in cuis if cui in vocabulary())
    return [
        (edge.child, edge.parent) for edge in edges if edge.child in cuis and not set(sources).isdisjoint(edge.source.split(","))
    ]


@cache
def _part_of() -> dict[str, list[str]]:
    """The wholes of each part. `CUI1 … CUI2 part_of`: CUI2 is the part."""
    wholes: dict[str, list[str]] = {}
    with (data_folder() / "open-umls" / "MRREL.RRF").open(encoding="utf-8") as rows:
        for row in rows:
            cells = row.split("|")
            if cells[7] == "part_of":
                wholes.setdefault(cells[4], []).append(cells[0])
    return wholes


def expanded_cooccurrence(graph: Graph, cuis: Cuis) -> ImageVectors:
    """The default with co-occurrence vectors of captions whose ancestors stand in them too."""
    return _with_cooccurrence(graph, cuis, _expanded(graph))


def retrofitted(weight: float) -> Callable[[Graph, Cuis], ImageVectors]:
    """The default with co-occurrence vectors that lie between their own and the mean of their is_a neighbours."""

    def embed(graph: Graph, cuis: Cuis) -> ImageVectors:
        own_Md = cooccurrence_vectors(together(attribute_matrix(graph)), _DEFAULT.smoothing_dimension)
        edges_MM = is_a_matrix(graph) + is_a_matrix(graph).T
        degree_M = np.maximum(edges_MM.sum(axis=1), 1)
        known_M1 = np.abs(own_Md).sum(axis=1, keepdims=True) > 0
        drawn_Md = own_Md
        for _ in range(_ROUNDS):
            near_Md = (edges_MM @ drawn_Md) / degree_M[:, None]
            drawn_Md = np.where(known_M1, (own_Md + weight * near_Md) / (1 + weight), near_Md)
        return _with_cooccurrence(graph, cuis, drawn_Md)

    return embed


def _expanded(graph: Graph) -> npt.NDArray[np.float32]:
    attribute_NM, parent_MM = attribute_matrix(graph), is_a_matrix(graph)
    content_M = ancestor_content(attribute_NM, parent_MM, _DEFAULT.hub_share)
    telling_MM = sparse.diags_array((content_M > 0).astype(float))
    above_MM = nearness(parent_MM, 1.0, _DEFAULT.max_distance) @ telling_MM
    closed_NM = sparse.csr_array((attribute_NM + attribute_NM @ above_MM).sign())
    return cooccurrence_vectors(together(closed_NM), _DEFAULT.smoothing_dimension)


def _with_cooccurrence(graph: Graph, cuis: Cuis, vectors_Md: npt.NDArray[np.float32]) -> ImageVectors:
    frequency_M = attribute_matrix(graph).sum(axis=0)
    weight_M = frequency_M**_DEFAULT.smoothing_frequency * frequency_M / (frequency_M + _DEFAULT.shrinkage)
    held = replace(_DEFAULT.fit(graph), cooccurrence=(vectors_Md * weight_M[:, None]).astype(np.float32))
    return held.embed(graph.image_ids, cuis)


OTHER_EDGES = (
    Method("no is_a", False, fitted(replace(_DEFAULT, ancestors=False))),
    Method("part_of beside is_a", True, with_edges(and_part_of)),
    Method("semantic types above is_a", True, with_edges(and_semantic_types)),
    Method("is_a of MSH alone", True, with_edges(by_source("MSH"))),
    Method("is_a of NCI alone", True, with_edges(by_source("NCI"))),
    Method("is_a of MSH, NCI, UBERON and HPO alone", True, with_edges(by_source("MSH", "NCI", "UBERON", "HPO"))),
    Method("co-occurrence of ancestors too", True, expanded_cooccurrence),
    Method("co-occurrence vectors retrofitted to is_a", True, retrofitted(1.0)),
)
