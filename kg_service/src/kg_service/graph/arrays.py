"""Rows of a store to the canonical arrays of `Graph`: the part of a read that is the same in every store.

Shape legend: N images, M concepts, A attributes, E is_a edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from kg_service.graph.store import Graph
from kg_service.storage.csr import pointers

Int64s = npt.NDArray[np.int64]


def assemble_graph(
    images: Iterable[tuple[int, str, str]],
    concepts: Iterable[tuple[int, str]],
    attribute_A2: Int64s,
    is_a_E2: Int64s,
    linkers: Iterable[str],
) -> Graph:
    """The same arrays, whatever the order of the rows and the values of the keys.

    Args:
        images: key, image id and caption digest of each selected image.
        concepts: key and CUI of each concept, needed or not.
        attribute_A2: image key and concept key of each present attribute of the selected images, int64, [A, 2].
        is_a_E2: child key and parent key of each edge, int64, [E, 2].
        linkers: the linkers that made the attributes.
    """
    images = sorted(images, key=itemgetter(1))
    concepts = sorted(concepts, key=itemgetter(1))
    row_A = _positions([image[0] for image in images], attribute_A2[:, 0])
    concept_keys = [concept[0] for concept in concepts]
    column_A = _positions(concept_keys, attribute_A2[:, 1])
    child_E, parent_E = _positions(concept_keys, is_a_E2).T
    kept_M = _with_ancestors(column_A, child_E, parent_E, len(concepts))
    new_M = np.cumsum(kept_M) - 1
    kept_E = kept_M[child_E]
    row_A, column_A = _distinct_pairs(row_A, new_M[column_A], len(concepts))
    is_a = _distinct_pairs(new_M[child_E[kept_E]], new_M[parent_E[kept_E]], len(concepts))
    return Graph(
        image_ids=tuple(image[1] for image in images),
        caption_sha256=tuple(image[2] for image in images),
        cuis=tuple(concepts[position][1] for position in np.flatnonzero(kept_M)),
        attribute_indptr=pointers(np.bincount(row_A, minlength=len(images))),
        attribute_indices=column_A.astype(np.int32),
        is_a=np.stack(is_a, axis=1).astype(np.int32),
        linkers=tuple(sorted(linkers)),
    )


def _positions(keys: Sequence[int], wanted: Int64s) -> Int64s:
    """Where each of `wanted` stands in `keys`; all of them do."""
    key_array = np.array(keys, np.int64)
    order = np.argsort(key_array)
    return order[np.searchsorted(key_array, wanted, sorter=order)] if len(keys) else wanted


def _with_ancestors(column_A: Int64s, child_E: Int64s, parent_E: Int64s, concepts: int) -> npt.NDArray[np.bool_]:
    """True for the concepts in `column_A` and everything above them over is_a; bool, [M]."""
    kept_M = np.zeros(concepts, bool)
    kept_M[column_A] = True
    while True:
        new_E = parent_E[kept_M[child_E] & ~kept_M[parent_E]]
        if not len(new_E):
            return kept_M
        kept_M[new_E] = True


def _distinct_pairs(first: Int64s, second: Int64s, width: int) -> tuple[Int64s, Int64s]:
    """The pairs sorted, each once; `second` is below `width`."""
    codes = np.unique(first * width + second)
    return codes // max(width, 1), codes % max(width, 1)
