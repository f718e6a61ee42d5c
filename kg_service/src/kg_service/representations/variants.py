"""Which representations a snapshot holds: the knowledge variants of one graph."""

from __future__ import annotations

from dataclasses import replace

from nbclip_shared.schemas import Knowledge

from kg_service.graph.store import Graph
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.model import FittedRepresentation
from kg_service.representations.noise import Noise

Variant = tuple[str, Knowledge]
"""Representation and knowledge, such as `("hybrid", "dk_ek")`."""


def fit_variants(graph: Graph, hybrid: Hybrid, noise: Noise) -> dict[Variant, FittedRepresentation]:
    """`dk` has the attributes only, `dk_ek` the ontology's ancestors too, `noise` neither."""
    with_ancestors = replace(hybrid, ancestors=True).fit(graph)
    return {
        ("hybrid", "dk"): with_ancestors.without_ancestors(),
        ("hybrid", "dk_ek"): with_ancestors,
        ("noise", "noise"): noise.fit(graph),
    }
