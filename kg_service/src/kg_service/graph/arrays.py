"""Rows of a store to the canonical arrays of `Graph`: the part of a read that is the same in every store.

Shape legend: N images, M concepts, A attributes, E edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from kg_service.graph.store import Graph
from kg_service.storage.csr import pointers
from kg_service.vocabulary.model import TRANSITIVE

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Concepts:
    """The concepts of a graph, sorted by CUI, and the edges among them: as `Graph` has them.

    Attributes:
        cuis: M CUIs.
        keys: key of each, int64, [M].
        is_a: int32, [E, 2].
        relations: by relation, int32, [E, 2].
    """

    cuis: tuple[str, ...]
    keys: Int64s
    is_a: npt.NDArray[np.int32]
    relations: Mapping[str, npt.NDArray[np.int32]]

    def positions(self, keys: Int64s) -> Int64s:
        """Where the concepts of these keys stand; all of them are there."""
        return _positions(self.keys, keys)


def assemble_graph(
    images: Iterable[tuple[int, str, str]],
    concepts: Iterable[tuple[int, str]],
    attribute_A2: Int64s,
    is_a_E2: Int64s,
    linkers: Iterable[str],
    relations: Mapping[str, Int64s] | None = None,
) -> Graph:
    """The same arrays, whatever the order of the rows and the values of the keys.

    Args:
        images: key, image id and caption digest of each selected image.
        concepts: key and CUI of each concept, needed or not.
        attribute_A2: image key and concept key of each present attribute of the selected images, int64, [A, 2].
        is_a_E2: child key and parent key of each edge, int64, [E, 2].
        linkers: the linkers that made the attributes.
        relations: by relation, subject key and target key of each typed edge, int64, [E, 2].
    """
    images = sorted(images, key=itemgetter(1))
    kept = assemble_concepts(concepts, attribute_A2[:, 1], is_a_E2, relations or {})
    row_A = _positions(np.array([image[0] for image in images], np.int64), attribute_A2[:, 0])
    row_A, column_A = distinct_pairs(row_A, kept.positions(attribute_A2[:, 1]), len(kept.cuis))
    return Graph(
        image_ids=tuple(image[1] for image in images),
        caption_sha256=tuple(image[2] for image in images),
        cuis=kept.cuis,
        attribute_indptr=pointers(np.bincount(row_A, minlength=len(images))),
        attribute_indices=column_A.astype(np.int32),
        is_a=kept.is_a,
        linkers=tuple(sorted(linkers)),
        relations=kept.relations,
    )


def assemble_concepts(
    concepts: Iterable[tuple[int, str]], had: Int64s, is_a_E2: Int64s, relations: Mapping[str, Int64s]
) -> Concepts:
    """The concepts that a graph has, and their edges.

    Args:
        concepts, is_a_E2, relations: as of `assemble_graph`.
        had: keys of the concepts that images have, in any order.
    """
    by_cui = sorted(concepts, key=itemgetter(1))
    keys = np.array([concept[0] for concept in by_cui], np.int64)
    child_E, parent_E = _positions(keys, is_a_E2).T
    related = {name: _positions(keys, edges_E2).T for name, edges_E2 in sorted(relations.items())}
    had_M = np.bincount(_positions(keys, had), minlength=len(keys)) > 0
    about_M = _reached(had_M, child_E, parent_E)
    kept_M = about_M | _around(about_M, child_E, parent_E, related)
    new_M = np.cumsum(kept_M) - 1
    held = {
        name: _renumbered(edges, (kept_M if name in TRANSITIVE else about_M)[edges[0]], new_M) for name, edges in related.items()
    }
    return Concepts(
        cuis=tuple(by_cui[position][1] for position in np.flatnonzero(kept_M)),
        keys=keys[kept_M],
        is_a=_renumbered(np.stack([child_E, parent_E]), kept_M[child_E], new_M),
        relations={name: edges_E2 for name, edges_E2 in held.items() if len(edges_E2)},
    )


def _positions(keys: Int64s, wanted: Int64s) -> Int64s:
    """Where each of `wanted` stands in `keys`; all of them do."""
    order = np.argsort(keys)
    return order[np.searchsorted(keys, wanted, sorter=order)] if len(keys) else wanted


def _reached(start_M: Bools, from_E: Int64s, to_E: Int64s) -> Bools:
    """True for the concepts of `start_M` and everything that edges lead to from there; bool, [M]."""
    kept_M = start_M.copy()
    while True:
        new_E = to_E[kept_M[from_E] & ~kept_M[to_E]]
        if not len(new_E):
            return kept_M
        kept_M[new_E] = True


def _around(about_M: Bools, child_E: Int64s, parent_E: Int64s, related: Mapping[str, Int64s]) -> Bools:
    """What relations lead to from the concepts of `about_M`, and all above that; bool, [M]."""
    found_M = np.zeros_like(about_M)
    for subject_E, target_E in related.values():
        found_M[target_E[about_M[subject_E]]] = True
    up = [np.stack([child_E, parent_E]), *(edges for name, edges in related.items() if name in TRANSITIVE)]
    return _reached(found_M, *np.concatenate(up, axis=1))


def _renumbered(edges_2E: Int64s, kept_E: Bools, new_M: Int64s) -> npt.NDArray[np.int32]:
    """The edges that are kept, by the new positions of their ends, each once, sorted; int32, [E, 2]."""
    first_E, second_E = new_M[edges_2E[:, kept_E]]
    return np.stack(distinct_pairs(first_E, second_E, len(new_M)), axis=1).astype(np.int32)


def distinct_pairs(first: Int64s, second: Int64s, width: int) -> tuple[Int64s, Int64s]:
    """The pairs sorted, each once; `second` is below `width`."""
    codes = np.sort(first * width + second)
    codes = codes[np.diff(codes, prepend=-1) > 0]
    return codes // max(width, 1), codes % max(width, 1)
