"""The representations under test. Each takes a graph and gives the vectors of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from kg_service.graph.store import Graph
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.hybrid.ancestors import ancestor_content, nearness
from kg_service.representations.model import ImageVectors
from kg_service.representations.noise import Noise
from kg_service.representations.transe import FAST, TransE
from kg_service.representations.weights import attribute_matrix, is_a_matrix
from scipy import sparse

Cuis = Sequence[Sequence[str]]
Embed = Callable[[Graph, Cuis], ImageVectors]


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the table: its name, whether it reads is_a, and how it makes vectors of a graph's images."""

    name: str
    is_a: bool
    embed: Embed


def fitted(representation: Any) -> Embed:
    """Fits on the graph and embeds its images."""
    return lambda graph, cuis: representation.fit(graph).embed(graph.image_ids, cuis)


def cooccurrence_alone(graph: Graph, cuis: Cuis) -> ImageVectors:
    """x2 of the hybrid."""
    vectors = Hybrid(ancestors=False).fit(graph).embed(graph.image_ids, cuis)
    length = np.linalg.norm(vectors.dense, axis=1, keepdims=True)
    dense = np.divide(vectors.dense, length, out=np.zeros_like(vectors.dense), where=length > 0)
    return ImageVectors(sparse.csr_array((len(dense), 0), dtype=np.float32), dense)


def former(*, ancestors: bool, smoothing: float = 0.2) -> Embed:
    """The first hybrid, before concepts shared their weight and rarity counted: w_c = idf_c, E[c,a] = .5^dist · IC(a)."""

    def embed(graph: Graph, cuis: Cuis) -> ImageVectors:
        first = replace(_BY_RARE, ancestors=False, smoothing=smoothing, shrinkage=1e-9, redundancy=0)
        held = first.fit(graph)
        spread_MM = held.spread + (_ancestors(graph) if ancestors else 0 * held.spread)
        # Weights are the square root of `idf`.
        return replace(held, idf=held.idf**2, spread=sparse.csr_array(spread_MM.astype(np.float32))).embed(graph.image_ids, cuis)

    return embed


def without_content(graph: Graph, cuis: Cuis) -> ImageVectors:
    """The default with every ancestor that is no hub alike, whatever its information content."""
    held = Hybrid().fit(graph)
    own_MM = sparse.diags_array(held.spread.diagonal(), format="csr")
    frequency_M = attribute_matrix(graph).sum(axis=0)
    rarity_M = _DEFAULT.ancestor_weight * _DEFAULT.shrinkage / (frequency_M + _DEFAULT.shrinkage)
    spread_MM = own_MM + sparse.diags_array(rarity_M) @ _ancestors(graph, content=False)
    return replace(held, spread=sparse.csr_array(spread_MM.astype(np.float32))).embed(graph.image_ids, cuis)


def in_every_concept(graph: Graph, cuis: Cuis) -> ImageVectors:
    """The default with ancestors that speak for frequent concepts as much as for rare ones."""
    held = Hybrid().fit(graph)
    own_MM = sparse.diags_array(held.spread.diagonal(), format="csr")
    spread_MM = sparse.csr_array((own_MM + _ancestors(graph)).astype(np.float32))
    return replace(held, spread=spread_MM).embed(graph.image_ids, cuis)


def _ancestors(graph: Graph, *, content: bool = True) -> sparse.csr_array:
    """.5^dist · IC over the ancestors that are no hubs, [M, M]."""
    content_M = ancestor_content(attribute_matrix(graph), is_a_matrix(graph), _DEFAULT.hub_share)
    weight_M = content_M if content else (content_M > 0).astype(float)
    return sparse.csr_array(nearness(is_a_matrix(graph), _DEFAULT.decay, _DEFAULT.max_distance) @ sparse.diags_array(weight_M))


def transe(parameters: TransE) -> Embed:
    """Learned once a graph, for both ways of making image vectors."""

    def embed(graph: Graph, cuis: Cuis) -> ImageVectors:
        if _LEARNED.get("of") != (id(graph), parameters.ancestors):
            fitted_once = replace(parameters, images="own").fit(graph)
            _LEARNED.update({"of": (id(graph), parameters.ancestors), "graph": graph, "fitted": fitted_once})
        held: Any = _LEARNED["fitted"]
        return (held if parameters.images == "own" else replace(held, own={})).embed(graph.image_ids, cuis)

    return embed


_LEARNED: dict[str, Any] = {}
"""What the last call of `transe` learned, and of which graph."""

_DEFAULT = Hybrid()
_BY_RARE = Hybrid(smoothing=0.6, smoothing_dimension=64, smoothing_frequency=0)
DEFAULT = Method("**hybrid** (default): dk_ek + co-occurrence", True, fitted(_DEFAULT))
METHODS = (
    Method("noise", False, fitted(Noise())),
    Method("concepts: dk", False, fitted(replace(_DEFAULT, ancestors=False, smoothing=0))),
    Method("concepts: dk_ek", True, fitted(replace(_DEFAULT, smoothing=0))),
    Method("co-occurrence alone", False, cooccurrence_alone),
    Method("hybrid: dk + co-occurrence", False, fitted(replace(_DEFAULT, ancestors=False))),
    DEFAULT,
    Method("hybrid by rare concepts (the former default)", True, fitted(_BY_RARE)),
    Method("IDF² bag", False, former(ancestors=False, smoothing=0)),
    Method("first hybrid: dk + co-occurrence", False, former(ancestors=False)),
    Method("first hybrid: dk_ek + co-occurrence", True, former(ancestors=True)),
)
LEARNED = (
    DEFAULT,
    Method("transe fast, dk", False, transe(replace(FAST, ancestors=False))),
    Method("transe fast, dk_ek", True, transe(FAST)),
    Method("transe fast, dk_ek, image nodes", True, transe(replace(FAST, images="own"))),
)
ABLATIONS = (
    Method("hubs kept", True, fitted(replace(_DEFAULT, hub_share=1.0))),
    Method("no information content, hubs dropped", True, without_content),
    Method("direct parents only", True, fitted(replace(_DEFAULT, max_distance=1))),
    Method("decay .7", True, fitted(replace(_DEFAULT, decay=0.7))),
    Method("decay 1", True, fitted(replace(_DEFAULT, decay=1.0))),
    Method("no is_a", False, fitted(replace(_DEFAULT, ancestors=False))),
    Method("no sharing of weight", True, fitted(replace(_DEFAULT, redundancy=0))),
    Method("ancestors of frequent concepts as of rare ones", True, in_every_concept),
    Method("co-occurrence weighs .6, not 6", True, fitted(replace(_DEFAULT, smoothing=0.6))),
    Method("co-occurrence of 64 dimensions", True, fitted(replace(_DEFAULT, smoothing_dimension=64))),
    Method("frequent concepts no heavier", True, fitted(replace(_DEFAULT, smoothing_frequency=0))),
    Method("no co-occurrence", True, fitted(replace(_DEFAULT, smoothing=0))),
)
ROBUST = tuple(
    method for method in METHODS if method.name not in ("noise", "co-occurrence alone", "first hybrid: dk + co-occurrence")
)
