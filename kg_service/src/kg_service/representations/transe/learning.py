"""How TransE learns: stochastic gradient descent on the margin ranking loss, on the CPU, to the same bits by seed.

    d(h, r, t) = ‖h + r - t‖₁             h, r, t scaled to unit length when they are compared
    loss       = mean of max(0, margin + d(true triple) - d(corrupted triple))

Each row's gradient is summed in one order whatever the number of threads. torch is imported where it is used: it is an extra.

Shape legend: N images, M concepts, E entities (concepts, then images), R relations, T triples, B a batch, n corruptions,
d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import structlog

from kg_service.graph.store import Graph

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]

HAS_ATTRIBUTE, IS_A = 0, 1


@dataclass(frozen=True, slots=True)
class Learning:
    """What decides the vectors beside the triples.

    Attributes:
        dimension: d.
        margin: by which a corrupted triple must be further than the true one, in L1 distance.
        negatives: corrupted triples for each true one.
        sampling: which end is corrupted: either alike, or by how many tails a head has and heads a tail.
        epochs: passes over the triples.
        batch: triples of a step; 0 is a hundredth of all.
        optimiser: `adagrad` or `sgd`.
        rate: learning rate.
        seed: of start, order and corruption.
    """

    dimension: int = 128
    margin: float = 5.0
    negatives: int = 8
    sampling: Literal["bernoulli", "uniform"] = "bernoulli"
    epochs: int = 20
    batch: int = 1_024
    optimiser: Literal["adagrad", "sgd"] = "adagrad"
    rate: float = 0.1
    seed: int = 42


@dataclass(frozen=True, slots=True)
class Learned:
    """What `train` gives: entity, float32, [E, d]; relation, float32, [R, d]; mean loss of the last epoch."""

    entity: Floats
    relation: Floats
    loss: float


def relation_count(graph: Graph) -> int:
    """R: has_attribute, is_a, and each typed relation of the graph, in its order."""
    return 2 + len(graph.relations)


def triples_of(graph: Graph, *, is_a: bool) -> Int64s:
    """(head, relation, tail); concepts are entities 0 to M - 1, images M to M + N - 1; int64, [T, 3].

    With `is_a` the typed relations are among them too.
    """
    rows = np.repeat(np.arange(len(graph.image_ids)), np.diff(graph.attribute_indptr)) + len(graph.cuis)
    attributes_T3 = np.stack([rows, np.full(len(rows), HAS_ATTRIBUTE), graph.attribute_indices], axis=1)
    is_a_T3 = np.insert(graph.is_a if is_a else graph.is_a[:0], 1, IS_A, axis=1)
    typed = [np.insert(edges_E2, 1, IS_A + place, axis=1) for place, edges_E2 in enumerate(graph.relations.values(), 1) if is_a]
    triples_T3: Int64s = np.concatenate([attributes_T3, is_a_T3, *typed]).astype(np.int64)
    return triples_T3


def train(triples_T3: Int64s, entities: int, relations: int, parameters: Learning) -> Learned:
    """Learns entity and relation vectors by stochastic gradient descent on the margin ranking loss."""
    import torch

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
