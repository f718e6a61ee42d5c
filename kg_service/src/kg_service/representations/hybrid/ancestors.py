"""The ancestors of a concept: their distance and their information content. Shape legend: N images, M concepts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.representations.weights import IMAGES_AT_ONCE, Float64s, information


def ancestor_content(attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array, hub_share: float) -> Float64s:
    """Information content of a concept with all below it, by the images' own frequencies (Resnik, IJCAI 1995); [0, 1], [M].

    0 for a hub: a concept that stands, with its descendants, in more than `hub_share` of the images.
    """
    return content(attribute_NM.shape[0], subtree_frequency(attribute_NM, parent_MM), hub_share)


def content(images: int, frequency_M: npt.NDArray[np.int64], hub_share: float) -> Float64s:
    """Information content by how many images have each concept, as a share of the rarest one's; 0 for a hub; [0, 1], [M].

    A concept that no image leads to counts as the rarest one.
    """
    content_M = information(images, frequency_M)
    content_M /= max(content_M.max(initial=0.0, where=frequency_M > 0), np.finfo(float).tiny)
    np.minimum(content_M, 1.0, out=content_M)
    content_M[frequency_M > hub_share * images] = 0.0
    return content_M


def nearness(parent_MM: sparse.csr_array, decay: float, max_distance: int) -> sparse.csr_array:
    """decay^(length of the shortest is_a path) at [concept, ancestor], without the diagonal; CSR, [M, M]."""
    frontier_MM = sparse.eye_array(parent_MM.shape[0], format="csr")
    nearness_MM = sparse.csr_array(parent_MM.shape)
    for distance in range(1, max_distance + 1):
        frontier_MM = (frontier_MM @ parent_MM).sign()
        nearness_MM = nearness_MM.maximum(frontier_MM * decay**distance)
    return sparse.csr_array(nearness_MM)


def subtree_frequency(attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array) -> npt.NDArray[np.int64]:
    """Images that have the concept or a descendant of it; [M]."""
    return images_that_reach(attribute_NM, _reached(parent_MM))


def images_that_reach(attribute_NM: sparse.csr_array, reached_MM: sparse.csr_array) -> npt.NDArray[np.int64]:
    """Images that have a concept which leads to this one; [M].

    Args:
        reached_MM: above 0 at [concept, what it leads to].
    """
    images, concepts = attribute_NM.shape
    frequency_M = np.zeros(concepts, np.int64)
    for start in range(0, images, IMAGES_AT_ONCE):
        reached_BM = attribute_NM[start : start + IMAGES_AT_ONCE] @ reached_MM
        frequency_M += np.bincount(reached_BM.indices, minlength=concepts)
    return frequency_M


def _reached(parent_MM: sparse.csr_array) -> sparse.csr_array:
    """1 at [concept, itself or an ancestor]; ends where longer paths reach nothing new, on cycles too; CSR, [M, M]."""
    frontier_MM = reached_MM = sparse.eye_array(parent_MM.shape[0], format="csr")
    while True:
        frontier_MM = (frontier_MM @ parent_MM).sign()
        wider_MM = (reached_MM + frontier_MM).sign()
        if wider_MM.nnz == reached_MM.nnz:
            return reached_MM
        reached_MM = wider_MM
