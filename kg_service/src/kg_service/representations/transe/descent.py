"""One step of TransE's learning: loss and gradient of a batch, and the rows that it moves. Compiled, in one thread.

    u      = x / ‖x‖                                 rows are compared at unit length
    L      = mean of max(0, margin + d(true) - d(corrupted))
    ∂L/∂x  = (g - u (u · g)) / ‖x‖                   g = ∂L/∂u, summed over all places of a row before it is projected

In L1 the gradient of a distance is made of signs, and sums of signs are exact whatever their order.

Shape legend: E entities, R relations, B triples, n corruptions of each, d dimensions, U the entities of a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Int64s = npt.NDArray[np.int64]
_compiled = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
_LEAST_LENGTH = np.float32(1e-12)
_LEAST_ROOT = np.float32(1e-10)


class Table(NamedTuple):
    """Vectors that are learned.

    Attributes:
        vectors: float32, [E, d].
        squares: sums of squared gradients (Adagrad), float32, [E, d]; [0, d] where there are none.
    """

    vectors: Floats
    squares: Floats


class Drawn(NamedTuple):
    """A batch of true triples, and what is put in the place of one end.

    Attributes:
        true: head, relation, tail; int64, [B, 3].
        other: the entities that replace one end, int64, [B, n].
        is_head: whether it is the head that they replace, bool, [B].
    """

    true: Int64s
    other: Int64s
    is_head: npt.NDArray[np.bool_]


class Workspace(NamedTuple):
    """Memory of a step: which entities it needs, which of them have a gradient, these and the relations at unit length, with the
    lengths that they had, and the gradients."""

    slot: npt.NDArray[np.int32]
    rows: Int64s
    has_gradient: npt.NDArray[np.bool_]
    entities: tuple[Floats, Floats, Floats]
    relations: tuple[Floats, Floats, Floats]


def workspace(entities: int, relations: int, dimension: int, most: int) -> Workspace:
    """For steps whose triples and corruptions name at most `most` entities."""

    def floats(rows: int) -> tuple[Floats, Floats, Floats]:
        return np.empty((rows, dimension), np.float32), np.empty(rows, np.float32), np.empty((rows, dimension), np.float32)

    most = min(most, entities)
    slot, rows, has_gradient = np.full(entities, -1, np.int32), np.empty(most, np.int64), np.empty(most, np.bool_)
    return Workspace(slot, rows, has_gradient, floats(most), floats(relations))


def margin_loss(entity: Floats, relation: Floats, drawn: Drawn, margin: float, norm: int) -> Floats:
    """max(0, margin + d(true) - d(corrupted)) of each triple and its corruptions; float32, [B, n].

    Args:
        entity: float32, [E, d].
        relation: float32, [R, d].
        drawn: triples and corruptions.
        margin: in distance.
        norm: 1 or 2: d(h, r, t) is the L1 or L2 norm of h + r - t.
    """
    unit_E, unit_R = (_at_unit_length(table) for table in (entity, relation))
    hinge_Bn = np.zeros(drawn.other.shape, np.float32)
    sums = np.zeros_like(unit_E), np.zeros_like(unit_R), np.zeros(len(unit_E), np.bool_)
    _backward(unit_E, unit_R, drawn, np.float32(margin), norm, hinge_Bn, *sums)
    return hinge_Bn


def descend(entity: Table, relation: Table, space: Workspace, drawn: Drawn, *, margin: float, norm: int, rate: float) -> float:
    """One step of stochastic gradient descent, or of Adagrad (Duchi et al., JMLR 2011); returns the sum of `margin_loss`."""
    own = Drawn(drawn.true.copy(), drawn.other.copy(), drawn.is_head)
    total: float = _descend(entity, relation, space, own, np.float32(margin), norm, np.float32(rate))
    return total


@_compiled
def _descend(entity: Table, relation: Table, space: Workspace, drawn: Drawn, margin: Any, norm: Any, rate: Any) -> float:
    """As `descend`; puts the entities' places in the workspace into `drawn`."""
    rows = space.rows[: _take_slots(drawn, space.slot, space.rows)]
    unit, length, summed = space.entities
    for at in range(len(rows)):
        length[at] = _scale(entity.vectors[rows[at]], unit[at])
        summed[at] = 0
        space.has_gradient[at] = False
    unit_R, length_R, summed_R = space.relations
    for row in range(len(relation.vectors)):
        length_R[row] = _scale(relation.vectors[row], unit_R[row])
        summed_R[row] = 0
    hinge = np.zeros(drawn.other.shape, np.float32)
    total = _backward(unit, unit_R, drawn, margin, norm, hinge, summed, summed_R, space.has_gradient)
    share = np.float32(1 / hinge.size)
    for at in range(len(rows)):
        if space.has_gradient[at]:
            _project(unit[at], summed[at], share / length[at])
            _move(entity, rows[at], summed[at], rate)
        space.slot[rows[at]] = -1
    for row in range(len(relation.vectors)):
        _project(unit_R[row], summed_R[row], share / length_R[row])
        _move(relation, row, summed_R[row], rate)
    return total


@_compiled
def _take_slots(drawn: Drawn, slot: Any, rows: Any) -> int:
    """Numbers the entities of a batch as they come, puts these numbers in their places, and returns how many they are."""
    true, other, _ = drawn
    count = 0
    for place in range(len(true)):
        for end in (0, 2):
            count = _take_slot(true[place, end], slot, rows, count)
            true[place, end] = slot[true[place, end]]
        for at in range(other.shape[1]):
            count = _take_slot(other[place, at], slot, rows, count)
            other[place, at] = slot[other[place, at]]
    return count


@_compiled
def _take_slot(entity: Any, slot: Any, rows: Any, count: int) -> int:
    if slot[entity] >= 0:
        return count
    slot[entity], rows[count] = count, entity
    return count + 1


def _at_unit_length(table: Floats) -> Floats:
    unit = np.empty_like(table)
    for row in range(len(table)):
        _scale(table[row], unit[row])
    return unit


@_compiled
def _scale(vector: Any, unit: Any) -> Any:
    """Fills `unit` with the vector at unit length, and returns its length."""
    square = np.float32(0)
    for k in range(len(vector)):
        square += vector[k] * vector[k]
    length = max(np.sqrt(square), _LEAST_LENGTH)
    for k in range(len(vector)):
        unit[k] = vector[k] / length
    return length


@_compiled
def _backward(
    unit: Any, unit_R: Any, drawn: Drawn, margin: Any, norm: Any, hinge: Any, summed: Any, summed_R: Any, has_gradient: Any
) -> float:
    """Fills `hinge`, adds the gradients of its sum by vectors of unit length to `summed`, and returns the sum.

    Entities that are given a gradient are marked in `has_gradient`.
    """
    true, other, head = drawn
    dimension = unit.shape[1]
    apart, place, back = np.empty(dimension, np.float32), np.empty(dimension, np.float32), np.empty(dimension, np.float32)
    total = 0.0
    for at in range(len(true)):
        h, r, t = unit[true[at, 0]], unit_R[true[at, 1]], unit[true[at, 2]]
        for k in range(dimension):
            apart[k] = h[k] + r[k] - t[k]
            # ‖e + r - t‖ and ‖h + r - e‖ are both a distance of e, from t - r or from h + r.
            place[k] = t[k] - r[k] if head[at] else h[k] + r[k]
            back[k] = 0
        true_distance = _distance(apart, norm)
        wrong = 0
        for n in range(other.shape[1]):
            false_distance = _distance_between(unit[other[at, n]], place, norm)
            over = margin + true_distance - false_distance
            if over > 0:
                hinge[at, n] = over
                total += over
                wrong += 1
                has_gradient[other[at, n]] = True
                _push(unit[other[at, n]], place, norm, false_distance, summed[other[at, n]], back)
        if wrong:
            has_gradient[true[at, 0]] = has_gradient[true[at, 2]] = True
            sums = summed[true[at, 0]], summed_R[true[at, 1]], summed[true[at, 2]]
            _pull(apart, norm, true_distance, np.float32(wrong), head[at], back, *sums)
    return total


@_compiled
def _distance(apart: Any, norm: Any) -> Any:
    total = np.float32(0)
    if norm == 1:
        for k in range(len(apart)):
            total += abs(apart[k])
        return total
    for k in range(len(apart)):
        total += apart[k] * apart[k]
    return np.sqrt(total)


@_compiled
def _distance_between(one: Any, other: Any, norm: Any) -> Any:
    total = np.float32(0)
    if norm == 1:
        for k in range(len(one)):
            total += abs(one[k] - other[k])
        return total
    for k in range(len(one)):
        total += (one[k] - other[k]) * (one[k] - other[k])
    return np.sqrt(total)


@_compiled
def _slope(apart: Any, norm: Any, distance: Any) -> Any:
    """∂ distance / ∂ apart, of one dimension; 0 at 0."""
    if norm == 1:
        return np.float32(apart > 0) - np.float32(apart < 0)
    return apart / max(distance, _LEAST_LENGTH)


@_compiled
def _push(one: Any, place: Any, norm: Any, distance: Any, summed: Any, back: Any) -> None:
    """Adds the gradient of -distance by the corrupted end to `summed`, and by the place that it should be far from to `back`."""
    for k in range(len(one)):
        slope = _slope(one[k] - place[k], norm, distance)
        summed[k] -= slope
        back[k] += slope


@_compiled
def _pull(apart: Any, norm: Any, distance: Any, times: Any, is_head: Any, back: Any, head: Any, relation: Any, tail: Any) -> None:
    """Adds the gradient of `times` the true distance, and what `_push` left for the place, to both ends and the relation."""
    for k in range(len(apart)):
        slope = times * _slope(apart[k], norm, distance)
        if is_head:
            head[k] += slope
            relation[k] += slope - back[k]
            tail[k] += back[k] - slope
        else:
            head[k] += slope + back[k]
            relation[k] += slope + back[k]
            tail[k] -= slope


@_compiled
def _project(unit: Any, summed: Any, factor: Any) -> None:
    """A gradient by the unit vector becomes the one by the vector itself."""
    along = np.float32(0)
    for k in range(len(unit)):
        along += unit[k] * summed[k]
    for k in range(len(unit)):
        summed[k] = (summed[k] - along * unit[k]) * factor


@_compiled
def _move(table: Table, row: Any, gradient: Any, rate: Any) -> None:
    vector = table.vectors[row]
    if len(table.squares) == 0:
        for k in range(len(vector)):
            vector[k] -= rate * gradient[k]
        return
    square = table.squares[row]
    for k in range(len(vector)):
        square[k] += gradient[k] * gradient[k]
        vector[k] -= rate * gradient[k] / (np.sqrt(square[k]) + _LEAST_ROOT)
