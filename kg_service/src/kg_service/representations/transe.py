"""TransE: images and concepts as points, relations as translations, learned so that h + r lies near t. The paper's method.

    d(h, r, t) = ‖h + r - t‖₁             h, r, t scaled to unit length when they are compared
    loss       = mean of max(0, margin + d(true triple) - d(corrupted triple))
    x          = l2(Σ_c idf_c (e_c - r_has_attribute)), an image from its concepts; or its own node's vector

Relations: `has_attribute` (image to concept), and `is_a` (concept to concept) in `dk_ek`. Bordes et al., NeurIPS 2013; Bernoulli
sampling: Wang et al., AAAI 2014; unit length on comparison and the paper's settings: OpenKE's TransE example, which Wei, Kurtz
and Cloppet (WACV 2025) start from. Learned with torch on the CPU; each row's gradient is summed in one order whatever the
number of threads, so a seed gives the same bits.

Shape legend: N images, M concepts, E entities (concepts, then images), R relations, T triples, B a batch, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import structlog
from scipy import sparse

from kg_service.errors import MissingExtra
from kg_service.graph.store import Graph
from kg_service.representations.contributions import of_pairs, pair_shares
from kg_service.representations.model import Card, Contributions, ImageVectors, Positions, Tables, Variants
from kg_service.representations.weights import inverse_document_frequency, known_attributes, unit_rows

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

HAS_ATTRIBUTE, IS_A = 0, 1
_ACCOUNT = (
    "Pairs of concepts by their learned vectors, which have the translation has_attribute in common: so unrelated concepts "
    "bring something too."
)
_OWN_ACCOUNT = (
    "Not additive: the images have learned vectors of their own. Listed is what their concepts' vectors would bring; "
    "unexplained is what was learned of the images as such."
)


@dataclass(frozen=True, slots=True)
class TransE:
    """Parameters; the defaults are the preset `fast`.

    Attributes:
        ancestors: learn is_a too (`dk_ek`) or not (`dk`).
        dimension: d.
        margin: by which a corrupted triple must be further than the true one, in L1 distance.
        negatives: corrupted triples for each true one.
        sampling: which end is corrupted: either alike, or by how many tails a head has and heads a tail.
        epochs: passes over the triples.
        batch: triples of a step.
        optimiser: `adagrad` or `sgd`.
        rate: learning rate.
        images: `mean`: all images are made of their concepts; `own`: images of the graph have the vectors of their nodes.
        seed: of start, order and corruption.
    """

    ancestors: bool = True
    dimension: int = 128
    margin: float = 5.0
    negatives: int = 8
    sampling: Literal["bernoulli", "uniform"] = "bernoulli"
    epochs: int = 20
    batch: int = 1_024
    optimiser: Literal["adagrad", "sgd"] = "adagrad"
    rate: float = 0.1
    images: Literal["mean", "own"] = "mean"
    seed: int = 42

    def fit(self, graph: Graph) -> FittedTransE:
        """Learns the vectors of a graph.

        Raises:
            MissingExtra: torch is not installed.
        """
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

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """Pairs of concepts: the vector of an image made of its concepts is a weighted sum of theirs.

        Images that have the vectors of their nodes were learned otherwise: of those it is the account that their concepts give.
        """
        left_Ld, right_Rd = (self.idf[each][:, None] * self.concept[each].astype(np.float64) for each in (left, right))
        additive = self.parameters.images == "mean"
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
            "inductive": "new captions, by their concepts",
        }


def restore_transe(card: Card, cuis: tuple[str, ...], tables: Tables) -> FittedTransE:
    """The fitted representation that `card` and `tables` came from, but for images' own vectors, which the snapshot has."""
    names = [field.name for field in fields(TransE)]
    return FittedTransE(
        parameters=TransE(**{name: card[name] for name in names}),  # type: ignore[arg-type]
        cuis=cuis,
        idf=tables["idf"],
        concept=tables["concept"],
        own={},
        triples=int(card["triples"]),
        loss=float(card["loss"]),
    )


@dataclass(frozen=True, slots=True)
class Learned:
    """What `train` gives: entity, float32, [E, d]; relation, float32, [R, d]; mean loss of the last epoch."""

    entity: Floats
    relation: Floats
    loss: float


def triples_of(graph: Graph, *, is_a: bool) -> Int64s:
    """(head, relation, tail); concepts are entities 0 to M - 1, images M to M + N - 1; int64, [T, 3]."""
    rows = np.repeat(np.arange(len(graph.image_ids)), np.diff(graph.attribute_indptr)) + len(graph.cuis)
    attributes_T3 = np.stack([rows, np.full(len(rows), HAS_ATTRIBUTE), graph.attribute_indices], axis=1)
    is_a_T3 = np.insert(graph.is_a if is_a else graph.is_a[:0], 1, IS_A, axis=1)
    triples_T3: Int64s = np.concatenate([attributes_T3, is_a_T3]).astype(np.int64)
    return triples_T3


def train(triples_T3: Int64s, entities: int, relations: int, parameters: TransE) -> Learned:
    """Learns entity and relation vectors by stochastic gradient descent on the margin ranking loss.

    Raises:
        MissingExtra: torch is not installed.
    """
    torch = _torch()
    rng = np.random.default_rng(parameters.seed)
    entity, relation = (
        torch.from_numpy(_start(rng, rows, parameters.dimension)).requires_grad_() for rows in (entities, relations)
    )
    squares = [torch.zeros_like(table) for table in (entity, relation)] if parameters.optimiser == "adagrad" else [None, None]
    head_share_R = head_shares(triples_T3, relations) if parameters.sampling == "bernoulli" else np.full(relations, 0.5)
    batch = parameters.batch or -(-len(triples_T3) // 100)
    loss = 0.0
    for epoch in range(parameters.epochs):
        total = 0.0
        order = rng.permutation(len(triples_T3))
        for start in range(0, len(order), batch):
            true_B3 = triples_T3[order[start : start + batch]]
            drawn = (true_B3, *corruptions(rng, true_B3, entities, parameters.negatives, head_share_R))
            hinge_Bn = margin_loss((entity, relation), *map(torch.from_numpy, drawn), margin=parameters.margin)
            gradients = torch.autograd.grad(hinge_Bn.mean(), (entity, relation))
            for table, gradient, square in zip((entity, relation), gradients, squares, strict=True):
                _descend(table, gradient, square, parameters.rate)
            total += float(hinge_Bn.detach().numpy().sum(dtype=np.float64)) / parameters.negatives
        loss = total / max(len(order), 1)
        if (epoch + 1) % max(1, parameters.epochs // 10) == 0:
            structlog.get_logger().info("transe learns", epoch=epoch + 1, of=parameters.epochs, loss=round(loss, 4))
    return Learned(entity.detach().numpy(), relation.detach().numpy(), loss)


def _descend(table: torch.Tensor, gradient: torch.Tensor, square: torch.Tensor | None, rate: float) -> None:
    """One step of stochastic gradient descent, or of Adagrad (Duchi et al., JMLR 2011), on the rows that have a gradient."""
    gradient = gradient.coalesce()
    rows, step = gradient.indices()[0], gradient.values()
    if square is not None:
        square[rows] += step**2
        step = step / (square[rows].sqrt() + 1e-10)
    table.detach()[rows] -= rate * step


def distance(head_Bd: torch.Tensor, relation_Bd: torch.Tensor, tail_Bd: torch.Tensor) -> torch.Tensor:
    """‖h + r - t‖₁, [B]; any shapes that broadcast."""
    return (head_Bd + relation_Bd - tail_Bd).abs().sum(dim=-1)


def margin_loss(
    tables: tuple[torch.Tensor, torch.Tensor],
    true_B3: torch.Tensor,
    other_Bn: torch.Tensor,
    head_B: torch.Tensor,
    *,
    margin: float,
) -> torch.Tensor:
    """max(0, margin + d(true) - d(corrupted)) of each triple and its corruptions; [B, n].

    Args:
        tables: of entities, [E, d], and of relations, [R, d].
        true_B3: head, relation, tail; int64.
        other_Bn: the entities that replace one end, int64.
        head_B: whether it is the head that they replace, bool.
        margin: in L1 distance.
    """
    entity, relation = tables
    head_Bd, tail_Bd = _unit(entity, true_B3[:, 0]), _unit(entity, true_B3[:, 2])
    relation_Bd = _unit(relation, true_B3[:, 1])
    # ‖e + r - t‖ and ‖h + r - e‖ are both a distance of e, from t - r or from h + r.
    place_Bd = (tail_Bd - relation_Bd).where(head_B[:, None], head_Bd + relation_Bd)
    false_Bn = (_unit(entity, other_Bn) - place_Bd[:, None]).abs().sum(dim=-1)
    return (margin + distance(head_Bd, relation_Bd, tail_Bd)[:, None] - false_Bn).relu()


def _unit(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows scaled to unit length; their gradient is sparse."""
    from torch.nn.functional import embedding, normalize

    return normalize(embedding(rows, table, sparse=True), dim=-1)


def head_shares(triples_T3: Int64s, relations: int) -> npt.NDArray[np.float64]:
    """How often the head is corrupted: tails per head / (tails per head + heads per tail) of each relation, [R]."""
    shares = np.full(relations, 0.5)
    for relation in range(relations):
        head, _, tail = triples_T3[triples_T3[:, 1] == relation].T
        if len(head):
            heads, tails = len(np.unique(head)), len(np.unique(tail))
            shares[relation] = (
                tails_per_head / (tails_per_head + len(head) / tails) if (tails_per_head := len(head) / heads) else 0.5
            )
    return shares


def corruptions(
    rng: np.random.Generator, triples_B3: Int64s, entities: int, negatives: int, head_share_R: npt.NDArray[np.float64]
) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Entities to put in the place of one end, [B, negatives], and whether it is the head, [B]."""
    head_B = rng.random(len(triples_B3)) < head_share_R[triples_B3[:, 1]]
    return rng.integers(entities, size=(len(triples_B3), negatives)), head_B


def _start(rng: np.random.Generator, rows: int, dimension: int) -> Floats:
    """Xavier's uniform start, [rows, d]."""
    bound = np.sqrt(6 / (rows + dimension))
    return rng.uniform(-bound, bound, (rows, dimension)).astype(np.float32)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("transe", "the representation 'transe'") from error
    return torch
