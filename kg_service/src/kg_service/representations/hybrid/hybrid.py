"""Hybrid: weighted concepts, spread to their ancestors, beside a small co-occurrence part. The default; training-free.

    idf_c   = max(.05, ln((N+1)/(df_c+.5)))                    df over the N images of the graph
    E[c,a]  = idf_c / ln(N+1)                                  a = c
            = 4 · 10/(df_c+10) · .5^dist(c,a) · IC(a)          ancestors, dist ≤ 6: they speak for the rarest concepts most;
                                                               dropped where a with its descendants stands in > 10 % of the images
            + 4 · .8^steps(c,a) · IC_r(a)                      where typed relations lead from c to a (`relations.py`),
                                                               such as has_finding_site, if the graph has any
    IC(a)   = ln((N+1)/(df_subtree_a+.5)) / max                document frequency including descendants
    W[c,:]  = df_c^.25 · df_c/(df_c+10) · (U_32 √S_32)[c,:]    PPMI(AᵀA, diagonal 0, context distribution ^ .75) = U S Vᵀ,
                                                               of the four million most frequent pairs where there are more
    J[c,b]  = images with both / images with either            left out below .5
    w_c     = √idf_c / (1 + Σ_b J[c,b])                        b over the image's other concepts: what says the same counts once
    x1 = l2(Σ_c w_c E[c,:]);  x2 = l2(Σ_c w_c W[c,:]);  x = l2([x1, √6·x2])

Information content by corpus frequency: Resnik, IJCAI 1995. PPMI with smoothed contexts, factorised: Levy, Goldberg and
Dagan, TACL 2015. `dk` leaves the ancestors out, `dk_ek` has them; the co-occurrence weight is a setting of its own.
`docs/targets.md` has what each part brings.

Shape legend: N images, M concepts of the graph, d co-occurrence dimensions; C concepts of some images, of which the left one
has L and the right one R, T where they meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput
from pydantic import Field
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.contributions import pair_shares
from kg_service.representations.hybrid.ancestors import ancestor_content, nearness
from kg_service.representations.hybrid.cooccurrence import cooccurrence_vectors
from kg_service.representations.hybrid.embedding import Embedded, embed_images
from kg_service.representations.hybrid.redundancy import overlaps
from kg_service.representations.hybrid.relations import Edges, relation_weights
from kg_service.representations.model import (
    Card,
    Contributions,
    ImageVectors,
    Method,
    Positions,
    Tables,
    Variants,
    added_later,
    of_card,
)
from kg_service.representations.weights import (
    attribute_matrix,
    inverse_document_frequency,
    is_a_matrix,
    known_attributes,
    together,
)
from kg_service.vocabulary.nearest import nearest


@dataclass(frozen=True, slots=True)
class Hybrid:
    """Parameters; those with a `Field` can be set. `ancestors`: spread to them (`dk_ek`) or not (`dk`)."""

    ancestors: bool = True
    decay: Annotated[float, Field(gt=0, le=1, description="weight of one is_a step in the hybrid representation")] = 0.5
    ancestor_weight: Annotated[float, Field(ge=0, le=100, description="weight of the ancestors of a rare concept")] = 4.0
    max_distance: Annotated[int, Field(ge=1, le=100, description="longest is_a path to follow")] = 6
    hub_share: Annotated[float, Field(gt=0, le=1, description="ancestors that a larger share of the images has are dropped")] = (
        0.1
    )
    smoothing: Annotated[float, Field(ge=0, le=100, description="weight of the co-occurrence part; 0: none")] = 6.0
    smoothing_dimension: Annotated[int, Field(ge=1, le=4_096, description="dimensions of the co-occurrence part")] = 32
    smoothing_frequency: Annotated[
        float, Field(ge=0, le=2, description="exponent by which frequent concepts weigh more in the co-occurrence part; 0: not")
    ] = field(default=0.25, metadata=added_later(0.0))
    shrinkage: Annotated[
        float, Field(gt=0, description="number of images at which the co-occurrence of a concept counts half")
    ] = 10.0
    redundancy: Annotated[
        float, Field(ge=0, le=100, description="how far concepts of the same images share their weight; 0: not at all")
    ] = 1.0
    relations: Annotated[
        str, Field(description="typed relations to spread along, separated by commas; empty: all that the graph has")
    ] = field(default="", metadata=added_later(""))
    relation_weight: Annotated[
        float, Field(ge=0, le=100, description="weight of what a concept's typed relations lead to; 0: none")
    ] = field(default=4.0, metadata=added_later(4.0))
    relation_decay: Annotated[float, Field(gt=0, le=1, description="weight of one step along typed relations")] = field(
        default=0.8, metadata=added_later(0.8)
    )

    def fit(self, graph: Graph) -> FittedHybrid:
        """Freezes idf, the spread E and the co-occurrence vectors W on a graph."""
        attribute_NM = attribute_matrix(graph)
        images, concepts = attribute_NM.shape
        count_MM = together(attribute_NM)
        frequency_M = count_MM.diagonal().astype(np.int64)
        idf_M = inverse_document_frequency(images, frequency_M)
        trust_M = frequency_M / (frequency_M + self.shrinkage)
        spread_MM = sparse.diags_array(idf_M / np.log(images + 1), format="csr")
        if self.ancestors:
            rarity_MM = sparse.diags_array(self.ancestor_weight * (1 - trust_M), format="csr")
            parent_MM = is_a_matrix(graph)
            spread_MM = spread_MM + rarity_MM @ self._ancestor_weights(attribute_NM, parent_MM)
            if chosen := self._relations(graph):
                spread_MM = spread_MM + self.relation_weight * self._relation_weights(attribute_NM, parent_MM, chosen)
        dimension = self.smoothing_dimension if self.smoothing > 0 else 0
        weight_M = trust_M * frequency_M**self.smoothing_frequency
        return FittedHybrid(
            parameters=self,
            cuis=graph.cuis,
            idf=idf_M,
            spread=sparse.csr_array(spread_MM.astype(np.float32)),
            cooccurrence=(cooccurrence_vectors(count_MM, dimension) * weight_M[:, None]).astype(np.float32),
            overlap=overlaps(count_MM) if self.redundancy > 0 else sparse.csr_array((concepts, concepts), dtype=np.float32),
            images=images,
            related=bool(graph.relations),
        )

    def variants(self, graph: Graph) -> Variants:
        """`dk` leaves the ancestors out, `dk_ek` has them."""
        with_ancestors = replace(self, ancestors=True).fit(graph)
        return {"dk": with_ancestors.without_ancestors(), "dk_ek": with_ancestors}

    def _relations(self, graph: Graph) -> Edges:
        """The typed edges to spread along.

        Raises:
            InvalidInput: the graph has no edge of a relation that is named.
        """
        named = [name.strip() for name in self.relations.split(",") if name.strip()]
        for name in named:
            if name not in graph.relations:
                hint = nearest(name, {each: each for each in graph.relations}, list(graph.relations))
                raise InvalidInput(f"the graph has no relation {name!r:.80}", hint=f"KG_HYBRID_RELATIONS: {hint}")
        return {name: graph.relations[name] for name in named or graph.relations} if self.relation_weight else {}

    def _relation_weights(
        self, attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array, relations: Edges
    ) -> sparse.csr_array:
        return relation_weights(
            attribute_NM,
            parent_MM,
            relations,
            decay=self.relation_decay,
            max_distance=self.max_distance,
            hub_share=self.hub_share,
        )

    def _ancestor_weights(self, attribute_NM: sparse.csr_array, parent_MM: sparse.csr_array) -> sparse.csr_array:
        """.5^dist · IC over ancestors within `max_distance` that are no hubs; float64 CSR, [M, M]."""
        content_M = ancestor_content(attribute_NM, parent_MM, self.hub_share)
        nearness_MM = nearness(parent_MM, self.decay, self.max_distance)
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
        overlap: J, float32 CSR, [M, M].
        images: N of the graph.
        related: whether the graph had typed relations; without them the card does not speak of any.
    """

    parameters: Hybrid
    cuis: tuple[str, ...]
    idf: npt.NDArray[np.float64]
    spread: sparse.csr_array
    cooccurrence: npt.NDArray[np.float32]
    overlap: sparse.csr_array
    images: int
    related: bool = False

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Unit vectors x = [x1, √smoothing·x2]; x1 sparse over the M concepts, x2 dense; zero rows without a known CUI."""
        return self.embed_known(image_ids, known_attributes(cuis, self.cuis))

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """As `embed`, of images that have these concepts."""
        embedded = self._embedded(has_NM, np.float32)
        return ImageVectors(embedded.exact, embedded.smooth)

    @property
    def follows_from_concepts(self) -> bool:
        """Always."""
        return True

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """Concepts that x1 of both images weighs, and pairs of their concepts by x2, which sums up weighted vectors W."""
        concepts = np.union1d(left, right)
        tables = self._rows(concepts)
        left_L, right_R = np.searchsorted(concepts, left), np.searchsorted(concepts, right)
        has_2C = _has(len(concepts), left_L, right_R)
        embedded = tables._embedded(has_2C, np.float64)
        weight_2C = sparse.csr_array((embedded.weight, has_2C.indices, has_2C.indptr), shape=has_2C.shape)
        shared_1M = embedded.exact[[0]].multiply(embedded.exact[[1]]).tocsr()
        reaches_CT = tables.spread[:, shared_1M.indices].toarray() > 0
        vector_2Cd = weight_2C.toarray()[:, :, None] * tables.cooccurrence.astype(np.float64)
        scale = float(np.prod(np.linalg.norm(embedded.smooth, axis=1)))
        return Contributions(
            meeting=shared_1M.indices,
            meeting_share=shared_1M.data,
            left_reaches=reaches_CT[left_L],
            right_reaches=reaches_CT[right_R],
            pair_share=pair_shares(vector_2Cd[0, left_L], vector_2Cd[1, right_R], scale),
            pair_kind="cooccurrence",
            additive=True,
            account=self._account(),
        )

    def _account(self) -> str:
        above = ", concepts that stand above theirs" if self.parameters.ancestors else " (is_a is left out)"
        if self.related and self.parameters.ancestors and self.parameters.relation_weight:
            above += " or that their relations lead to"
        beside = ", and pairs of their concepts that occur together" if self.parameters.smoothing > 0 else ""
        return f"Concepts that both images have{above}{beside}.{self._left_out()}"

    def _left_out(self) -> str:
        if not self.parameters.ancestors:
            return ""
        chosen = self.parameters
        return (
            f" Ancestors more than {chosen.max_distance} steps above, and those that more than {chosen.hub_share:.0%} of the "
            "images have, themselves or below, count for nothing."
        )

    def _embedded(self, has_NC: sparse.csr_array, dtype: npt.DTypeLike) -> Embedded:
        """Both parts of unit vectors, of images that have these concepts, which are the rows of the tables."""
        return embed_images(
            has_NC,
            self.idf,
            self.overlap,
            self.spread,
            self.cooccurrence,
            redundancy=self.parameters.redundancy,
            smoothing=self.parameters.smoothing,
            dtype=dtype,
        )

    def _rows(self, concepts: Positions) -> FittedHybrid:
        """The tables of these concepts alone; they reach what they reached."""
        return replace(
            self,
            cuis=tuple(self.cuis[concept] for concept in concepts),
            idf=self.idf[concepts],
            spread=self.spread[concepts],
            cooccurrence=self.cooccurrence[concepts],
            overlap=self.overlap[concepts][:, concepts],
        )

    def without_ancestors(self) -> FittedHybrid:
        """The same with `ancestors=False`, without fitting anew: only the spread's diagonal is left."""
        diagonal = sparse.diags_array(self.spread.diagonal(), format="csr")
        return replace(self, parameters=replace(self.parameters, ancestors=False), spread=sparse.csr_array(diagonal))

    def tables(self) -> Tables:
        """idf, E, W and J, by name."""
        spread, overlap = _parts("spread", self.spread), _parts("overlap", self.overlap)
        return {"idf": self.idf, "cooccurrence": self.cooccurrence, **spread, **overlap}

    def card(self) -> Card:
        """Method, parameters and what the tables come from."""
        named = asdict(self.parameters)
        if not self.related:
            named = {name: value for name, value in named.items() if name not in _OF_RELATIONS}
        if self.parameters.smoothing_frequency == 0:
            del named["smoothing_frequency"]
        return {
            "method": "hybrid",
            **named,
            "images": self.images,
            "concepts": len(self.cuis),
            "inductive": "new captions, by their concepts; concepts that no image had are left out",
        }


def restore_hybrid(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedHybrid:
    """The fitted representation that `card` and `tables` came from."""
    return FittedHybrid(
        parameters=of_card(Hybrid, card),
        cuis=cuis,
        idf=tables["idf"],
        spread=_whole("spread", tables, len(cuis)),
        cooccurrence=tables["cooccurrence"],
        overlap=_whole("overlap", tables, len(cuis)),
        images=int(card["images"]),
        related="relation_weight" in card,
    )


_OF_RELATIONS = ("relations", "relation_weight", "relation_decay")

METHOD = Method(
    name="hybrid",
    settings=Hybrid(),
    representation=lambda hybrid: hybrid,
    parameters=Hybrid,
    restore=restore_hybrid,
)
CONCEPTS = replace(METHOD, representation=lambda hybrid: replace(hybrid, smoothing=0.0, smoothing_frequency=0.0))
"""The hybrid without its co-occurrence part, by the hybrid's settings."""


def _has(concepts: int, *images: Positions) -> sparse.csr_array:
    """1.0 where the image has the concept; float64 CSR, [N, C]."""
    return sparse.csr_array(np.stack([np.isin(np.arange(concepts), each) for each in images]).astype(np.float64))


def _parts(name: str, matrix: sparse.csr_array) -> Tables:
    """A CSR array as named arrays."""
    indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
    return {f"{name}_indptr": indptr, f"{name}_indices": indices, f"{name}_data": matrix.data}


def _whole(name: str, tables: Tables, concepts: int) -> sparse.csr_array:
    """The CSR array of its named arrays, [M, M]."""
    parts = (tables[f"{name}_data"], tables[f"{name}_indices"], tables[f"{name}_indptr"])
    return sparse.csr_array(parts, shape=(concepts, concepts))
