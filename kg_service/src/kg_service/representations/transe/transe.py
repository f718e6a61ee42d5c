"""TransE: images and concepts as points, relations as translations, learned so that h + r lies near t. The paper's method.

    d(h, r, t) = ‖h + r - t‖              L1 or L2, learned as `learning.py` has it
    x          = l2(Σ_c idf_c (e_c - r_has_attribute)), an image from its concepts; or its own node's vector

Relations: `has_attribute` (image to concept), and `is_a` (concept to concept) in `dk_ek`. Bordes et al., NeurIPS 2013; Bernoulli
sampling: Wang et al., AAAI 2014; unit length on comparison and the paper's settings: OpenKE's TransE example, which Wei, Kurtz
and Cloppet (WACV 2025) start from.

Shape legend: N images, M concepts, E entities (concepts, then images), d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from kg_service.graph.store import Graph
from kg_service.representations.contributions import of_pairs, pair_shares
from kg_service.representations.model import Card, Contributions, ImageVectors, Method, Positions, Tables, Variants, of_card
from kg_service.representations.transe.descent import Floats
from kg_service.representations.transe.learning import HAS_ATTRIBUTE, Learning, Norm, train, triples_of
from kg_service.representations.weights import inverse_document_frequency, known_attributes, unit_rows

_INDUCTIVE = "new captions, by their concepts"
_ACCOUNT = (
    "Pairs of concepts by their learned vectors, which have the translation has_attribute in common: so unrelated concepts "
    "bring something too."
)
_OWN_ACCOUNT = (
    "Not additive: the images have learned vectors of their own. Listed is what their concepts' vectors would bring; "
    "unexplained is what was learned of the images as such."
)


@dataclass(frozen=True, slots=True)
class TransE(Learning):
    """Parameters; the defaults are the preset `fast`.

    Attributes:
        ancestors: learn is_a too (`dk_ek`) or not (`dk`).
        images: `mean`: all images are made of their concepts; `own`: images of the graph have the vectors of their nodes.
    """

    ancestors: bool = True
    images: Literal["mean", "own"] = "mean"

    def fit(self, graph: Graph) -> FittedTransE:
        """Learns the vectors of a graph."""
        concepts, images = len(graph.cuis), len(graph.image_ids)
        triples_T3 = triples_of(graph, is_a=self.ancestors)
        learned = train(triples_T3, concepts + images, 2, self)
        entity_Ed = unit_rows(learned.entity).astype(np.float32)
        concept_Md = entity_Ed[:concepts] - unit_rows(learned.relation)[HAS_ATTRIBUTE]
        frequency_M = np.bincount(graph.attribute_indices, minlength=concepts)
        has_attribute_N = np.diff(graph.attribute_indptr) > 0
        own = self.images == "own"
        return FittedTransE(
            parameters=self,
            cuis=graph.cuis,
            idf=inverse_document_frequency(images, frequency_M),
            concept=concept_Md.astype(np.float32),
            own={i: v for i, v, has in zip(graph.image_ids, entity_Ed[concepts:], has_attribute_N, strict=True) if own and has},
            triples=len(triples_T3),
            loss=learned.loss,
        )

    def variants(self, graph: Graph) -> Variants:
        """`dk` is learned without is_a, `dk_ek` with it."""
        return {"dk": replace(self, ancestors=False).fit(graph), "dk_ek": replace(self, ancestors=True).fit(graph)}


FAST = TransE()
PAPER = TransE(dimension=512, negatives=25, epochs=6_000, batch=0, optimiser="sgd", rate=1.0, images="own")
"""The paper's settings; `batch` 0 is a hundredth of the triples, as OpenKE's example has it."""
PRESETS = {"fast": FAST, "paper": PAPER}


@dataclass(frozen=True, slots=True)
class TransESettings:
    """What can be set of it."""

    preset: Annotated[Literal["fast", "paper"], Field(description="`fast`, or the `paper`'s 6000 epochs at d = 512")] = "fast"
    epochs: Annotated[int | None, Field(ge=1, description="passes over the triples; default: the preset's")] = None
    images: Annotated[
        Literal["mean", "own"] | None,
        Field(description="`mean` of their concepts' vectors, or the vectors of their `own` nodes; default: the preset's"),
    ] = None
    dimension: Annotated[int | None, Field(ge=1, le=4_096, description="dimensions of TransE; default: the preset's")] = None
    margin: Annotated[float | None, Field(gt=0, le=1_000, description="margin of the ranking loss; default: the preset's")] = None
    norm: Annotated[Norm | None, Field(description="`l1` or `l2`: the distance; default: the preset's, `l1`")] = None
    negatives: Annotated[
        int | None, Field(ge=1, le=1_000, description="corrupted triples for each true one; default: the preset's")
    ] = None
    seed: Annotated[int, Field(ge=0, description="seed of initial vectors and sampling")] = 42

    def representation(self) -> TransE:
        """The preset with what is set otherwise."""
        chosen = {name: value for name, value in asdict(self).items() if name != "preset" and value is not None}
        return replace(PRESETS[self.preset], **chosen)


@dataclass(frozen=True, slots=True)
class FittedTransE:
    """The learned vectors.

    Attributes:
        parameters: what they were learned with.
        cuis: M CUIs, sorted.
        idf: float64, [M].
        concept: e_c - r_has_attribute, float32, [M, d].
        own: unit vectors of the graph's images, [d] each; empty where images are made of their concepts.
        triples: what was learned from.
        loss: mean of the last epoch.
    """

    parameters: TransE
    cuis: tuple[str, ...]
    idf: npt.NDArray[np.float64]
    concept: Floats
    own: dict[str, Floats]
    triples: int
    loss: float

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Unit vectors, [N, d]; zero rows without a known CUI. An image that has its own vector keeps it, whatever its CUIs."""
        return self.embed_known(image_ids, known_attributes(cuis, self.cuis))

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """As `embed`, of images that have these concepts."""
        dense_Nd = unit_rows(has_NM @ (self.idf[:, None] * self.concept)).astype(np.float32)
        for row, image_id in enumerate(image_ids):
            if image_id in self.own:
                dense_Nd[row] = self.own[image_id]
        return ImageVectors(sparse.csr_array((len(image_ids), 0), dtype=np.float32), dense_Nd)

    @property
    def follows_from_concepts(self) -> bool:
        """Not where images have learned vectors of their own."""
        return self.parameters.images == "mean"

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """Pairs of concepts: the vector of an image made of its concepts is a weighted sum of theirs.

        Images that have the vectors of their nodes were learned otherwise: of those it is the account that their concepts give.
        """
        left_Ld, right_Rd = (self.idf[each][:, None] * self.concept[each].astype(np.float64) for each in (left, right))
        additive = self.follows_from_concepts
        share_LR = pair_shares(left_Ld, right_Rd, scale=1.0)
        return of_pairs(share_LR, "learned", additive=additive, account=_ACCOUNT if additive else _OWN_ACCOUNT)

    def tables(self) -> Tables:
        """idf and concept vectors, by which new captions get theirs; images' own vectors are the snapshot's."""
        return {"idf": self.idf, "concept": self.concept}

    def card(self) -> Card:
        """Method, parameters and what came of it."""
        return {
            "method": "transe",
            **asdict(self.parameters),
            "triples": self.triples,
            "loss": round(self.loss, 6),
            "inductive": _INDUCTIVE if self.follows_from_concepts else f"{_INDUCTIVE}, not by nodes of their own",
        }


def restore_transe(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedTransE:
    """The fitted representation that `card` and `tables` came from, but for images' own vectors, which the snapshot has."""
    return FittedTransE(
        parameters=of_card(TransE, card),
        cuis=cuis,
        idf=tables["idf"],
        concept=tables["concept"],
        own={},
        triples=int(card["triples"]),
        loss=float(card["loss"]),
    )


METHOD = Method(
    name="transe",
    settings=TransESettings(),
    representation=TransESettings.representation,
    parameters=TransE,
    restore=restore_transe,
    packages=("numba",),
)
