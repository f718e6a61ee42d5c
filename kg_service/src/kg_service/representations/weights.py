"""What every method does with concepts: image-concept matrix, document frequency, unit rows. Legend: N images, M concepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.graph.store import Graph

_LEAST_IDF = 0.05
IMAGES_AT_ONCE = 1 << 14
"""Images of which the vectors, or what leads to their counts, are in memory at a time."""
ALL = slice(None)
_COUNTED_AT_ONCE = 1 << 18
"""Images whose pairs are counted at a time: each addition goes over all pairs there are."""
_ENTRIES_AT_ONCE = 1 << 22

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


def attribute_matrix(graph: Graph, images: slice = ALL) -> sparse.csr_array:
    """A, or of some images the rows: 1 where the image has the concept; int8 CSR, [N, M]. The graph's indices are not copied."""
    start, stop, _ = images.indices(len(graph.image_ids))
    indptr = graph.attribute_indptr[start : stop + 1] - graph.attribute_indptr[start]
    indices = graph.attribute_indices[graph.attribute_indptr[start] : graph.attribute_indptr[stop]]
    # With pointers of another type than theirs the indices would be copied.
    kept = indptr.astype(indices.dtype) if indptr[-1] < np.iinfo(indices.dtype).max else indptr
    return sparse.csr_array((np.ones(len(indices), np.int8), indices, kept), shape=(stop - start, len(graph.cuis)))


def together(attribute_NM: sparse.csr_array) -> sparse.csr_array:
    """How many images have both concepts, at [lower, higher], on the diagonal how many have one; int32 CSR, [M, M]."""
    images, concepts = attribute_NM.shape
    count_MM = sparse.csr_array((concepts, concepts), dtype=np.int32)
    for start in range(0, images, _COUNTED_AT_ONCE):
        rows_BM = attribute_NM[start : start + _COUNTED_AT_ONCE].astype(np.int32)
        count_MM = count_MM + sparse.triu(rows_BM.T @ rows_BM, format="csr")
    return sparse.csr_array(count_MM)


def entries(matrix_MM: sparse.csr_array) -> Iterator[tuple[Int64s, npt.NDArray[np.integer[Any]], npt.NDArray[Any]]]:
    """Row, column and value of each entry, some million at a time."""
    for start in range(0, matrix_MM.nnz, _ENTRIES_AT_ONCE):
        some = slice(start, min(start + _ENTRIES_AT_ONCE, matrix_MM.nnz))
        row = np.searchsorted(matrix_MM.indptr, np.arange(some.start, some.stop), side="right") - 1
        yield row, matrix_MM.indices[some], matrix_MM.data[some]


def both_ways(
    lower: npt.NDArray[np.integer[Any]], higher: npt.NDArray[np.integer[Any]], data: npt.NDArray[Any], concepts: int
) -> sparse.csr_array:
    """A symmetric matrix by its entries at [lower, higher], none of them on the diagonal; CSR, [M, M], rows ascending."""
    half_MM = sparse.csr_array((data, (lower, higher)), shape=(concepts, concepts))
    return sparse.csr_array(half_MM + half_MM.T)


def is_a_matrix(graph: Graph) -> sparse.csr_array:
    """1.0 at [child, parent]; CSR, [M, M]."""
    return edge_matrix(graph.is_a, len(graph.cuis))


def edge_matrix(pairs_E2: npt.NDArray[np.int32], concepts: int) -> sparse.csr_array:
    """1.0 at [first, second] of each edge; CSR, [M, M]."""
    return sparse.csr_array((np.ones(len(pairs_E2)), (pairs_E2[:, 0], pairs_E2[:, 1])), shape=(concepts, concepts))


def information(images: int, frequency_M: Int64s) -> Float64s:
    """ln((N + 1) / (df + .5)), [M]."""
    content_M: Float64s = np.log((images + 1) / (frequency_M + 0.5))
    return content_M


def inverse_document_frequency(images: int, frequency_M: Int64s) -> Float64s:
    """The same, .05 at least: a concept that all images have still says something, [M]."""
    return information(images, frequency_M).clip(min=_LEAST_IDF)


def known_attributes(cuis: Sequence[Sequence[str]], known: Sequence[str]) -> sparse.csr_array:
    """1.0 at every distinct known CUI of every image; float64 CSR, [N, M], ascending within a row."""
    position = {cui: index for index, cui in enumerate(known)}
    rows = [sorted({position[cui] for cui in image_cuis if cui in position}) for image_cuis in cuis]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
    indices = np.array([index for row in rows for index in row], np.int64)
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(rows), len(known)))


def unit_rows(matrix: npt.NDArray[np.float64] | npt.NDArray[np.float32]) -> Float64s:
    """Rows scaled to length 1; zero rows stay."""
    length = np.linalg.norm(matrix.astype(np.float64), axis=1, keepdims=True)
    scaled: Float64s = np.divide(matrix, length, out=np.zeros(matrix.shape), where=length > 0)
    return scaled
