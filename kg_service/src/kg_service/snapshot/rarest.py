"""A graph whose images have only their rarest concepts, as if the captions named no others.

What is rare is decided once, over the published images: a snapshot keeps how many had each concept, so that an append leaves its
images theirs by the same numbers.

Shape legend: N images, M concepts, A attributes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kg_service.graph.arrays import assemble_graph
from kg_service.graph.store import Graph
from kg_service.snapshot.cuis import cui_array
from kg_service.snapshot.opened import Base
from kg_service.storage.arrays import open_array, save_arrays

Int64s = npt.NDArray[np.int64]
_CUIS, _FREQUENCIES = "graph.counted_cuis", "graph.document_frequencies"


def document_frequencies(graph: Graph) -> Int64s:
    """How many images have each concept, [M]."""
    return np.bincount(graph.attribute_indices, minlength=len(graph.cuis)).astype(np.int64)


def with_rarest(graph: Graph, number: int, frequency_M: Int64s) -> Graph:
    """The graph, of each image the `number` concepts of the least frequency, and of equal ones the first by CUI.

    Concepts that no image has any more, nor stand above one that has, are gone.
    """
    row_A = np.repeat(np.arange(len(graph.image_ids)), np.diff(graph.attribute_indptr))
    order_A = np.lexsort((graph.attribute_indices, frequency_M[graph.attribute_indices], row_A))
    place_A = np.arange(len(row_A)) - graph.attribute_indptr[row_A]
    kept = order_A[place_A < number]
    assembled = assemble_graph(
        zip(range(len(graph.image_ids)), graph.image_ids, graph.caption_sha256, strict=True),
        enumerate(graph.cuis),
        np.stack([row_A[kept], graph.attribute_indices[kept]], axis=1).astype(np.int64),
        graph.is_a.astype(np.int64),
        graph.linkers,
        {name: edges_E2.astype(np.int64) for name, edges_E2 in graph.relations.items()},
    )
    return replace(assembled, revision=graph.revision)


def save_frequencies(folder: Path, graph: Graph) -> None:
    """Keeps in a snapshot's folder how many images had each concept before any were left out."""
    frequency_M = document_frequencies(graph)
    counted = np.flatnonzero(frequency_M)
    save_arrays(folder, {_CUIS: cui_array(graph.cuis)[counted], _FREQUENCIES: frequency_M[counted]})


def as_published(base: Base, graph: Graph) -> Graph:
    """The graph of images that are to be appended, with those of their concepts that the snapshot's rule leaves them.

    A concept that no published image had is rarer than all others.
    """
    number = base.manifest.rarest_concepts
    if number is None:
        return graph
    counted, frequencies = (open_array(base.folder / f"{name}.npy") for name in (_CUIS, _FREQUENCIES))
    frequency_of = dict(zip(counted.astype(str).tolist(), frequencies.tolist(), strict=True))
    return with_rarest(graph, number, np.array([frequency_of.get(cui, 0) for cui in graph.cuis], np.int64))
