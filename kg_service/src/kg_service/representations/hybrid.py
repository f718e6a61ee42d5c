"""Hybrid: weighted concepts, spread to their ancestors, beside a small co-occurrence part. The default; training-free.

    idf_c   = max(.05, ln((N+1)/(df_c+.5)))                    df over the N images of the graph
    E[c,a]  = idf_c / ln(N+1)          a = c
            = .5^dist(c,a) · IC(a)     ancestors, dist ≤ 6, dropped where a with its descendants stands in > 10 % of the images
    IC(a)   = ln((N+1)/(df_subtree_a+.5)) / max                document frequency including descendants
    W       = U_64 √S_64 of PPMI(AᵀA, diagonal 0, context distribution ^ .75)
    x1 = l2(Σ_c idf_c E[c,:]);  x2 = l2(Σ_c idf_c W[c,:]);  x = l2([x1, √.2·x2])

Information content by corpus frequency: Resnik, IJCAI 1995. PPMI with smoothed contexts, factorised: Levy, Goldberg and
Dagan, TACL 2015. `dk` leaves the ancestors out, `dk_ek` has them; the co-occurrence weight is a setting of its own.

Shape legend: N images, M concepts of the graph, d co-occurrence dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.cooccurrence import cooccurrence_vectors
from kg_service.representations.model import ImageVectors, Tables

_LEAST_IDF = 0.05


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Parameters.

    Attributes:
        ancestors: spread to ancestors (`dk_ek`) or not (`dk`).
        decay: weight of one is_a step, (0, 1].
        max_distance: longest is_a path followed, in steps.
        hub_share: an ancestor that stands, with its descendants, in a larger share of the images is dropped.
        smoothing: weight of the co-occurrence part, ≥ 0; 0 leaves it out.
        smoothing_dimension: d.
    """

    ancestors: bool = True
    decay: float = 0.5
    max_distance: int = 6
    hub_share: float = 0.10
    smoothing: float = 0.2
    smoothing_dimension: int = 64

    def fit(self, graph: Graph) -> FittedHybrid:
        """Freezes idf, the spread E and the co-occurrence vectors W on a graph."""
        attribute_NM = _attribute_matrix(graph)
        images, concepts = attribute_NM.shape
        idf_M = _idf(images, np.bincount(attribute_NM.indices, minlength=concepts)).clip(min=_LEAST_IDF)
        spread_MM = sparse.diags_array(idf_M / np.log(images + 1), format="csr")
        if self.ancestors:
            spread_MM = spread_MM + self._ancestor_weights(attribute_NM, _is_a_matrix(graph))
        dimension = self.smoothing_dimension if self.smoothing > 0 else 0
        return FittedHybrid(
            parameters=self,
            cuis=graph.cuis,
            idf=idf_M,
            spread=sparse.csr_array(spread_MM.astype(np.float32)),
            cooccurrence=cooccurrence_vectors(attribute_NM, dimension),
        )

    def _ancestor_weights(self, attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array) -> sparse.csr_array:
        """.5^dist · IC over ancestors within `max_distance` that are no hubs; float64 CSR, [M, M]."""
        images = attribute_NM.shape[0]
        df_subtree_M = _subtree_frequency(attribute_NM, parent_MM)
        content_M = _idf(images, df_subtree_M)
        content_M = content_M / max(content_M.max(initial=0.0), np.finfo(float).tiny)
        content_M[df_subtree_M > self.hub_share * images] = 0.0
        nearness_MM = _nearness(parent_MM, self.decay, self.max_distance)
        weights_MM = sparse.csr_array(nearness_MM @ sparse.diags_array(content_M))
        weights_MM.eliminate_zeros()
        return weights_MM


@dataclass(frozen=True, slots=True)
class FittedHybrid:
    """The frozen tables.

    Attributes:
        parameters: what it was fitted with.
        cuis: M CUIs, sorted.
        idf: float64, [M].
        spread: E, float32 CSR, [M, M].
        cooccurrence: W, float32, [M, d].
    """

    parameters: Hybrid
    cuis: tuple[str, ...]
    idf: npt.NDArray[np.float64]
    spread: sparse.csr_array
    cooccurrence: npt.NDArray[np.float32]

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Unit vectors x = [x1, √smoothing·x2]; x1 sparse over the M concepts, x2 dense; zero rows without a known CUI."""
        weighted_NM = self._weighted_attributes(cuis)
        exact_NM = _unit_rows(sparse.csr_array(weighted_NM @ self.spread.astype(np.float64)))
        smooth_Nd = weighted_NM @ self.cooccurrence.astype(np.float64)
        length_N1 = np.linalg.norm(smooth_Nd, axis=1, keepdims=True)
        smooth_Nd = np.divide(smooth_Nd, length_N1, out=np.zeros_like(smooth_Nd), where=length_N1 > 0)
        smooth_Nd *= np.sqrt(self.parameters.smoothing)
        total_N = np.sqrt((np.diff(exact_NM.indptr) > 0) + (smooth_Nd**2).sum(axis=1))
        scale_N = np.divide(1.0, total_N, out=np.zeros_like(total_N), where=total_N > 0)
        exact_NM = sparse.csr_array(sparse.diags_array(scale_N) @ exact_NM)
        exact_NM.sort_indices()
        return ImageVectors(exact_NM.astype(np.float32), (smooth_Nd * scale_N[:, None]).astype(np.float32))

    def _weighted_attributes(self, cuis: Sequence[Sequence[str]]) -> sparse.csr_array:
        """idf_c at every distinct known CUI of every image; float64 CSR, [N, M]."""
        position = {cui: index for index, cui in enumerate(self.cuis)}
        rows = [sorted({position[cui] for cui in image_cuis if cui in position}) for image_cuis in cuis]
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        indices = np.array([index for row in rows for index in row], np.int64)
        return sparse.csr_array((self.idf[indices], indices, indptr), shape=(len(rows), len(self.cuis)))

    def without_ancestors(self) -> FittedHybrid:
        """The same with `ancestors=False`, without fitting anew: only the spread's diagonal is left."""
        diagonal = sparse.diags_array(self.spread.diagonal(), format="csr")
        return replace(self, parameters=replace(self.parameters, ancestors=False), spread=sparse.csr_array(diagonal))

    def tables(self) -> Tables:
        """idf, E and W, by name."""
        return {
            "idf": self.idf,
            "spread_indptr": self.spread.indptr.astype(np.int64),
            "spread_indices": self.spread.indices.astype(np.int32),
            "spread_data": self.spread.data,
            "cooccurrence": self.cooccurrence,
        }

    def settings(self) -> dict[str, float | int | str]:
        """Method and parameters."""
        return {"method": "hybrid", **asdict(self.parameters)}


def restore_hybrid(parameters: Hybrid, cuis: tuple[str, ...], tables: Tables) -> FittedHybrid:
    """The fitted representation that `tables` came from."""
    spread = (tables["spread_data"], tables["spread_indices"], tables["spread_indptr"])
    return FittedHybrid(
        parameters=parameters,
        cuis=cuis,
        idf=tables["idf"],
        spread=sparse.csr_array(spread, shape=(len(cuis), len(cuis))),
        cooccurrence=tables["cooccurrence"],
    )


def _attribute_matrix(graph: Graph) -> sparse.csr_array:
    """A: 1.0 where the image has the concept; CSR, [N, M]."""
    ones = np.ones(len(graph.attribute_indices))
    shape = (len(graph.image_ids), len(graph.cuis))
    return sparse.csr_array((ones, graph.attribute_indices, graph.attribute_indptr), shape=shape)


def _is_a_matrix(graph: Graph) -> sparse.csr_array:
    """1.0 at [child, parent]; CSR, [M, M]."""
    concepts = len(graph.cuis)
    child, parent = graph.is_a[:, 0], graph.is_a[:, 1]
    return sparse.csr_array((np.ones(len(child)), (child, parent)), shape=(concepts, concepts))


def _idf(images: int, frequency_M: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    content_M: npt.NDArray[np.float64] = np.log((images + 1) / (frequency_M + 0.5))
    return content_M


def _nearness(parent_MM: sparse.csr_array, decay: float, max_distance: int) -> sparse.csr_array:
    """decay^(length of the shortest is_a path) at [concept, ancestor], without the diagonal; CSR, [M, M]."""
    frontier_MM = sparse.eye_array(parent_MM.shape[0], format="csr")
    nearness_MM = sparse.csr_array(parent_MM.shape)
    for distance in range(1, max_distance + 1):
        frontier_MM = (frontier_MM @ parent_MM).sign()
        nearness_MM = nearness_MM.maximum(frontier_MM * decay**distance)
    return sparse.csr_array(nearness_MM)


def _subtree_frequency(attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array) -> npt.NDArray[np.int64]:
    """Images that have the concept or a descendant of it; [M]."""
    reached_NM = attribute_NM.sign()
    while True:
        wider_NM = (reached_NM + reached_NM @ parent_MM).sign()
        if wider_NM.nnz == reached_NM.nnz:
            return np.bincount(reached_NM.indices, minlength=reached_NM.shape[1])
        reached_NM = wider_NM


def _unit_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    length = np.sqrt(matrix.multiply(matrix).sum(axis=1))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
    return sparse.csr_array(sparse.diags_array(scale) @ matrix)
