"""Where a concept's typed relations lead, and how much that weighs. Shape legend: N images, M concepts, E edges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.representations.hybrid.ancestors import content, images_that_reach
from kg_service.representations.weights import edge_matrix
from kg_service.vocabulary.model import TRANSITIVE

Edges = Mapping[str, npt.NDArray[np.int32]]


def relation_weights(
    attribute_NM: sparse.csr_array,
    parent_MM: sparse.csr_array,
    relations: Edges,
    *,
    decay: float,
    max_distance: int,
    hub_share: float,
) -> sparse.csr_array:
    """decay^steps · IC at [concept, what its relations lead to], hubs left out; float64 CSR, [M, M], diagonal 0.

    IC and hubs are those of `ancestors.content`, of the images that have the concept or are led to it.

    Args:
        attribute_NM: 1.0 where the image has the concept.
        parent_MM: 1.0 at [child, parent].
        relations: by relation, subject and target of each edge, int32, [E, 2].
        decay: weight of one step, (0, 1].
        max_distance: steps at most.
        hub_share: share of the images, (0, 1].
    """
    near_MM = relation_nearness(parent_MM, relations, decay, max_distance)
    led_MM = sparse.csr_array(sparse.eye_array(near_MM.shape[0], format="csr") + near_MM.sign())
    frequency_M = images_that_reach(attribute_NM, led_MM)
    weights_MM = sparse.csr_array(near_MM @ sparse.diags_array(content(attribute_NM.shape[0], frequency_M, hub_share)))
    weights_MM.eliminate_zeros()
    return weights_MM


def relation_nearness(parent_MM: sparse.csr_array, relations: Edges, decay: float, max_distance: int) -> sparse.csr_array:
    """decay^(least steps) at [concept, target], diagonal 0; CSR, [M, M].

    The first step is over any of the relations, further ones over transitive relations and is_a: pneumonia, lung, thorax.
    """
    concepts = parent_MM.shape[0]
    edges = {name: edge_matrix(pairs_E2, concepts) for name, pairs_E2 in relations.items()}
    nothing_MM = sparse.csr_array((concepts, concepts))
    first = [edge if name in TRANSITIVE else inherited(edge, parent_MM, max_distance) for name, edge in edges.items()]
    up_MM = sum((edge for name, edge in edges.items() if name in TRANSITIVE), start=parent_MM)
    frontier_MM = sparse.csr_array(sum(first, start=nothing_MM)).sign()
    near_MM = frontier_MM * decay
    for steps in range(2, max_distance + 1):
        frontier_MM = (frontier_MM @ up_MM).sign()
        near_MM = near_MM.maximum(frontier_MM * decay**steps)
    near_MM = sparse.csr_array(near_MM - sparse.diags_array(near_MM.diagonal()))
    near_MM.eliminate_zeros()
    return near_MM


def inherited(edge_MM: sparse.csr_array, parent_MM: sparse.csr_array, max_distance: int) -> sparse.csr_array:
    """Edges of a relation, where a concept without one has those of its nearest ancestors by is_a that have one; CSR, [M, M].

    Ancestors at the same distance all count; those over `max_distance` steps up do not.
    """
    found_MM, frontier_MM = edge_MM, sparse.eye_array(edge_MM.shape[0], format="csr")
    for _ in range(max_distance):
        without_M = (np.diff(found_MM.indptr) == 0).astype(np.float64)
        frontier_MM = (sparse.diags_array(without_M) @ frontier_MM @ parent_MM).sign()
        found_MM = sparse.csr_array(found_MM + (frontier_MM @ edge_MM).sign())
        found_MM.eliminate_zeros()
    return found_MM
