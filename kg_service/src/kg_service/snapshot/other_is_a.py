"""A graph with another is_a: its own with the parents shuffled, which is a control, or one that a request brings.

A shuffle swaps the parents of two edges at a time, (a, b) and (c, d) to (a, d) and (c, b), where this gives no edge twice and
both go up: each concept has a rank, its height in the hierarchy and within one height at random. So no cycle comes up, and every
concept keeps its number of parents and of children. Swapping edges to sample graphs by degree: Milo et al., arXiv
cond-mat/0312028; in an order, so that they stay acyclic: Karrer and Newman, Phys. Rev. Lett. 102 (2009).

Shape legend: N images, M concepts, E edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import structlog
from nbclip.errors import Conflict, InvalidInput
from nbclip.schemas.snapshots import OwnIsA, ShuffledIsA
from scipy.sparse import csgraph

from kg_service.graph.arrays import assemble_graph
from kg_service.graph.store import Graph
from kg_service.representations.weights import edge_matrix
from kg_service.snapshot.manifest import IsAOrigin, Manifest
from kg_service.storage.arrays import open_array, save_arrays

OtherIsA = ShuffledIsA | OwnIsA
_SWAPS_PER_EDGE = 10
_READ_WHOLE_BELOW = 1 << 14
_OWN_EDGES = "graph.own_is_a"


def with_is_a(graph: Graph, wanted: OtherIsA | None) -> Graph:
    """The graph with another is_a; None: as it is.

    Raises:
        Conflict: the parents are to be shuffled, and end where they were, as of few edges no two may be able to change places.
        InvalidInput: none of the edges begins at a concept of an image.
    """
    match wanted:
        case ShuffledIsA():
            return replace(graph, is_a=_shuffled(graph.is_a, len(graph.cuis), wanted.shuffled))
        case OwnIsA():
            return _with_own(graph, wanted.edges)
        case None:
            return graph


def origin(wanted: OtherIsA | None) -> IsAOrigin | None:
    """What the manifest says of it."""
    match wanted:
        case ShuffledIsA():
            return IsAOrigin(kind="shuffled", seed=wanted.shuffled)
        case OwnIsA():
            return IsAOrigin(kind="own")
        case None:
            return None


def save_other_is_a(folder: Path, wanted: OtherIsA | None) -> None:
    """Keeps in a snapshot's folder what its manifest does not say: all edges that were brought."""
    if isinstance(wanted, OwnIsA):
        save_arrays(folder, {_OWN_EDGES: np.array(sorted(set(wanted.edges)), "S8").reshape(-1, 2)})


def other_is_a_of(folder: Path, manifest: Manifest) -> OtherIsA | None:
    """What a published snapshot's is_a was made of, so that its part of the graph can be published anew."""
    if manifest.is_a is None:
        return None
    if manifest.is_a.seed is not None:
        return ShuffledIsA(shuffled=manifest.is_a.seed)
    return OwnIsA(edges=open_array(folder / f"{_OWN_EDGES}.npy", whole_below=_READ_WHOLE_BELOW).astype(str).tolist())


def _with_own(graph: Graph, edges: Sequence[tuple[str, str]]) -> Graph:
    """The graph's images with their concepts, and what stands above these by the edges; no typed relations."""
    own = {graph.cuis[concept] for concept in np.unique(graph.attribute_indices).tolist()}
    if edges and own.isdisjoint(child for child, _ in edges):
        raise InvalidInput(
            f"none of the {len(edges)} is_a edges begins at a concept of an image, such as {min(own)}",
            hint="an edge is [child, parent], in this order",
        )
    cuis = sorted(own.union(*edges))
    place = {cui: at for at, cui in enumerate(cuis)}
    row_A = np.repeat(np.arange(len(graph.image_ids)), np.diff(graph.attribute_indptr))
    concept_A = np.array([place.get(cui, -1) for cui in graph.cuis], np.int64)[graph.attribute_indices]
    is_a_E2 = np.array([(place[child], place[parent]) for child, parent in edges], np.int64).reshape(-1, 2)
    assembled = assemble_graph(
        zip(range(len(graph.image_ids)), graph.image_ids, graph.caption_sha256, strict=True),
        enumerate(cuis),
        np.stack([row_A, concept_A], axis=1),
        is_a_E2,
        graph.linkers,
    )
    return replace(assembled, revision=graph.revision)


def _shuffled(is_a_E2: npt.NDArray[np.int32], concepts: int, seed: int) -> npt.NDArray[np.int32]:
    """Child and parent of each edge, distinct, sorted; int32, [E, 2]."""
    rng = np.random.default_rng(seed)
    rank = _ranks(is_a_E2, concepts, rng).tolist()
    child, parent = is_a_E2.T.tolist()
    held = set(zip(child, parent, strict=True))
    for first, second in rng.integers(len(child), size=(_SWAPS_PER_EDGE * len(child), 2)).tolist() if child else ():
        a, b, c, d = child[first], parent[first], child[second], parent[second]
        if rank[a] < rank[d] and rank[c] < rank[b] and held.isdisjoint(((a, d), (c, b))):
            held -= {(a, b), (c, d)}
            held |= {(a, d), (c, b)}
            parent[first], parent[second] = d, b
    moved = len(held.difference(map(tuple, is_a_E2.tolist())))
    if not moved:
        raise Conflict(
            f"shuffled by seed {seed}, all {len(child)} is_a of the graph are as they were",
            hint="try another seed; with few is_a no other arrangement may be possible",
        )
    structlog.get_logger().info("is_a shuffled: not the vocabulary's from here on", seed=seed, edges=len(child), moved=moved)
    return np.array(sorted(held), np.int32)


def _ranks(is_a_E2: npt.NDArray[np.int32], concepts: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The longest way down from each concept, and below 1 at random; concepts of one cycle have one rank; [M]."""
    parts, part_M = csgraph.connected_components(edge_matrix(is_a_E2, concepts), connection="strong")
    child_E, parent_E = part_M[is_a_E2[:, 0]], part_M[is_a_E2[:, 1]]
    child_E, parent_E = child_E[child_E != parent_E], parent_E[child_E != parent_E]
    height, lower = np.zeros(parts), np.full(parts, -1.0)
    while (height != lower).any():
        lower = height.copy()
        np.maximum.at(height, parent_E, lower[child_E] + 1)
    ranks_M: npt.NDArray[np.float64] = (height + rng.random(parts))[part_M]
    return ranks_M
