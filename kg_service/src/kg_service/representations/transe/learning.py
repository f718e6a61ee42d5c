"""How TransE learns: stochastic gradient descent on the margin ranking loss, on the CPU, to the same bits by seed.

    d(h, r, t) = ‖h + r - t‖              h, r, t scaled to unit length when they are compared
    loss       = mean of max(0, margin + d(true triple) - d(corrupted triple))

Shape legend: N images, M concepts, E entities (concepts, then images), R relations, T triples, B a batch, n corruptions,
d dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import structlog

from kg_service.graph.store import Graph
from kg_service.representations.model import added_later
from kg_service.representations.transe.descent import Drawn, Floats, Int64s, Table, descend, workspace

Norm = Literal["l1", "l2"]
NORMS: Mapping[Norm, int] = {"l1": 1, "l2": 2}
HAS_ATTRIBUTE, IS_A = 0, 1


@dataclass(frozen=True, slots=True)
class Learning:
    """What decides the vectors beside the triples.

    Attributes:
        dimension: d.
        margin: by which a corrupted triple must be further than the true one.
        norm: of h + r - t: the distance.
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
    norm: Norm = field(default="l1", metadata=added_later("l1"))
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


def triples_of(graph: Graph, *, is_a: bool) -> Int64s:
    """(head, relation, tail); concepts are entities 0 to M - 1, images M to M + N - 1; int64, [T, 3]."""
    rows = np.repeat(np.arange(len(graph.image_ids)), np.diff(graph.attribute_indptr)) + len(graph.cuis)
    attributes_T3 = np.stack([rows, np.full(len(rows), HAS_ATTRIBUTE), graph.attribute_indices], axis=1)
    is_a_T3 = np.insert(graph.is_a if is_a else graph.is_a[:0], 1, IS_A, axis=1)
    triples_T3: Int64s = np.concatenate([attributes_T3, is_a_T3]).astype(np.int64)
    return triples_T3


def train(triples_T3: Int64s, entities: int, relations: int, parameters: Learning) -> Learned:
    """Learns entity and relation vectors by stochastic gradient descent on the margin ranking loss."""
    rng = np.random.default_rng(parameters.seed)
    entity, relation = (_table(rng, rows, parameters) for rows in (entities, relations))
    head_share_R = head_shares(triples_T3, relations) if parameters.sampling == "bernoulli" else np.full(relations, 0.5)
    batch = parameters.batch or -(-len(triples_T3) // 100)
    space = workspace(entities, relations, parameters.dimension, batch * (parameters.negatives + 2))
    step = partial(descend, entity, relation, space, margin=parameters.margin, norm=NORMS[parameters.norm], rate=parameters.rate)
    loss = 0.0
    for epoch in range(parameters.epochs):
        total = 0.0
        order = rng.permutation(len(triples_T3))
        for start in range(0, len(order), batch):
            true_B3 = triples_T3[order[start : start + batch]]
            drawn = Drawn(true_B3, *corruptions(rng, true_B3, entities, parameters.negatives, head_share_R))
            total += step(drawn) / parameters.negatives
        loss = total / max(len(order), 1)
        if (epoch + 1) % max(1, parameters.epochs // 10) == 0:
            structlog.get_logger().info("transe learns", epoch=epoch + 1, of=parameters.epochs, loss=round(loss, 4))
    return Learned(entity.vectors, relation.vectors, loss)


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


def _table(rng: np.random.Generator, rows: int, parameters: Learning) -> Table:
    """Xavier's uniform start, [rows, d]."""
    bound = np.sqrt(6 / (rows + parameters.dimension))
    start = rng.uniform(-bound, bound, (rows, parameters.dimension)).astype(np.float32)
    return Table(start, np.zeros_like(start if parameters.optimiser == "adagrad" else start[:0]))
