"""A graph with another is_a: its own with the parents shuffled, which is a control, or one that a request brings.

Shape legend: N images, M concepts, E edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
from nbclip.errors import Conflict, InvalidInput
from nbclip.schemas.snapshots import OwnIsA, ShuffledIsA

from kg_service.graph.arrays import assemble_graph
from kg_service.graph.store import Graph
from kg_service.snapshot.cuis import cui_array
from kg_service.snapshot.manifest import IsAOrigin, Manifest
from kg_service.snapshot.shuffling import shuffled
from kg_service.storage.arrays import open_array, save_arrays

OtherIsA = ShuffledIsA | OwnIsA
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
            return _with_shuffled(graph, wanted.shuffled)
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
        save_arrays(folder, {_OWN_EDGES: cui_array([cui for edge in sorted(set(wanted.edges)) for cui in edge]).reshape(-1, 2)})


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


def _with_shuffled(graph: Graph, seed: int) -> Graph:
    is_a_E2, moved = shuffled(graph.is_a, len(graph.cuis), seed)
    if not moved:
        raise Conflict(
            f"shuffled by seed {seed}, all {len(is_a_E2)} is_a of the graph are as they were",
            hint="try another seed; with few is_a no other arrangement may be possible",
        )
    structlog.get_logger().info("is_a shuffled: not the vocabulary's from here on", seed=seed, edges=len(is_a_E2), moved=moved)
    return replace(graph, is_a=is_a_E2)
