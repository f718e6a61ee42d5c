"""Similarities to target rows, as `nbclip.targets.build_targets` makes them: a row at a time, which stays in a core's own memory.

That function is the definition, for every device and batch; this one is its float32 form for a service that answers a matrix. It
solves each row's temperature in float64 by the same steps, and stops at the solution.

Shape legend: R rows, C columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from nbclip.schemas.targets import TargetParameters
from numba.extending import intrinsic

from kg_service.representations.model import read_only

Keys = npt.NDArray[np.int64]
_LEAST_SIMILARITY, _NO_CANDIDATE = np.float32(-1.0), np.float32(-2.0)
_LOG_TEMPERATURE_BOUNDS = (-9.21, 9.21)
_FIRST_LOG_TEMPERATURE = -3.5
_STEPS = 12
_LEAST = 1e-6
_CLOSE = 1e-4
"""A step of Newton's method that is smaller leaves an error of about its square."""
_FARTHEST = -80.0
"""A neighbour so many temperatures below the best one has no weight, in float32 with any other."""
_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
_TO_INTEGER = 6755399441055744.0
"""1.5 · 2^52: added to a small number, it leaves the nearest integer in the low bits."""
_exact = numba.njit(nogil=True, cache=True, fastmath={"contract"})
_summing = numba.njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "nnan"}, error_model="numpy")


@dataclass(frozen=True, slots=True)
class Columns:
    """What all rows have to do with.

    Attributes:
        keys: equal where two columns are the same image or caption, [C].
        order: the columns in the order of their keys, [C].
        ascending: the keys in this order, [C].
        known: True where the image has a usable CUI, read-only, [C].
    """

    keys: Keys
    order: Keys
    ascending: Keys
    known: npt.NDArray[np.bool_]


def grouped(key_C: Keys, has_knowledge_C: npt.NDArray[np.bool_]) -> Columns:
    """The columns of a batch, ordered so that each row finds its duplicates."""
    order_C = np.argsort(key_C, kind="stable")
    return Columns(key_C, order_C, key_C[order_C], read_only(has_knowledge_C))


def to_target_rows(sim_RC: npt.NDArray[np.float32], own_R: Keys, columns: Columns, parameters: TargetParameters) -> None:
    """Replaces similarities by target rows, each ≥ 0 with sum 1.

    Args:
        sim_RC: similarities in [-1, 1], C order.
        own_R: column of each row's own image.
        columns: what is known of the columns.
        parameters: form, mass, temperature or effective neighbours, top-k, floor.
    """
    key_R = columns.keys[own_R]
    first_R, end_R = (np.searchsorted(columns.ascending, key_R, side) for side in ("left", "right"))
    rows = own_R, columns.order, first_R, end_R, columns.known
    if parameters.form == "paper-literal":
        _fill_literal(sim_RC, rows, 1.0 / (parameters.temperature or 1.0))
        return
    top_k = parameters.top_k if parameters.top_k is not None and parameters.top_k < sim_RC.shape[1] else 0
    inverse = 0.0 if parameters.temperature is None else 1.0 / parameters.temperature
    mass, floor, wanted = parameters.neighbour_mass, np.float32(parameters.floor), math.log(parameters.effective_neighbours)
    _fill(sim_RC, rows, mass, floor, top_k, inverse, wanted)


def _same_bits(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    return builder.bitcast(given[0], context.get_value_type(signature.return_type))


@intrinsic
def _bits(_: Any, number: Any) -> Any:
    """The bits of a float64 as an int64."""
    return numba.int64(number), _same_bits


@intrinsic
def _float(_: Any, bits: Any) -> Any:
    """The float64 of these bits."""
    return numba.float64(bits), _same_bits


@_exact
def _exp(x):  # type: ignore[no-untyped-def]
    """e^x of x in [-700, 0], by 2^n · e^r, |r| ≤ ln 2 / 2, to 13 digits: a loop of these runs in vector registers."""
    shifted = x * _LOG2E + _TO_INTEGER
    n = shifted - _TO_INTEGER
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    value = 1.0 / 3628800
    value = value * r + 1.0 / 362880
    value = value * r + 1.0 / 40320
    value = value * r + 1.0 / 5040
    value = value * r + 1.0 / 720
    value = value * r + 1.0 / 120
    value = value * r + 1.0 / 24
    value = value * r + 1.0 / 6
    value = value * r + 0.5
    value = value * r + 1.0
    value = value * r + 1.0
    return _float(_bits(value) + (_bits(shifted) << 52))  # type: ignore[call-arg]


@_exact
def _fill(sim_RC, rows, mass, floor, top_k, inverse, wanted):  # type: ignore[no-untyped-def]
    own_R, order_C, first_R, end_R, known_C = rows
    gap_C = np.empty(sim_RC.shape[1], np.float32)
    for r in range(len(sim_RC)):
        row_C, same = sim_RC[r], order_C[first_R[r] : end_R[r]]
        best = _candidates(row_C, known_C, same, gap_C)
        if not known_C[own_R[r]] or best < floor:
            _fill_hard(row_C, same)
            continue
        _to_gaps(gap_C, best, max(_kth_largest(gap_C, top_k), _LEAST_SIMILARITY) if top_k else _LEAST_SIMILARITY)
        _fill_weights(gap_C, inverse if inverse else _solve(gap_C, wanted), mass, row_C)
        for c in same:
            row_C[c] = (1.0 - mass) / len(same)


@_exact
def _fill_literal(sim_RC, rows, inverse):  # type: ignore[no-untyped-def]
    own_R, order_C, first_R, end_R, known_C = rows
    gap_C = np.empty(sim_RC.shape[1], np.float32)
    for r in range(len(sim_RC)):
        if known_C[own_R[r]]:
            gap_C[:] = sim_RC[r]
            _to_gaps(gap_C, _largest(gap_C), _LEAST_SIMILARITY)
            _fill_weights(gap_C, inverse, 1.0, sim_RC[r])
        else:
            _fill_hard(sim_RC[r], order_C[first_R[r] : end_R[r]])


@_exact
def _fill_hard(row_C, same):  # type: ignore[no-untyped-def]
    row_C[:] = 0
    for c in same:
        row_C[c] = 1.0 / len(same)


@_summing
def _candidates(row_C, known_C, same, gap_C):  # type: ignore[no-untyped-def]
    """Fills the candidates' similarities, and what is below all of them elsewhere; returns the largest."""
    for c in range(len(row_C)):
        gap_C[c] = row_C[c] if known_C[c] else _NO_CANDIDATE
    for c in same:
        gap_C[c] = _NO_CANDIDATE
    return _largest(gap_C)


@_summing
def _largest(gap_C):  # type: ignore[no-untyped-def]
    best = _NO_CANDIDATE
    for c in range(len(gap_C)):
        best = max(best, gap_C[c])
    return best


@_exact
def _kth_largest(gap_C, k):  # type: ignore[no-untyped-def]
    """The k-th largest, by bisection over the integers whose order is that of their floats: counting is faster than sorting."""
    rank_C = gap_C.view(np.int32).copy()
    for c in range(len(rank_C)):
        rank_C[c] ^= (rank_C[c] >> 31) & 0x7FFFFFFF
    low, high = np.int64(-(1 << 31)), np.int64(1 << 31)
    while high - low > 1:
        middle = (low + high) // 2
        count = 0
        for c in range(len(rank_C)):
            count += rank_C[c] >= np.int32(middle)
        low, high = (middle, high) if count >= k else (low, middle)
    rank_C[0] = low ^ ((low >> 31) & 0x7FFFFFFF)
    return rank_C.view(np.float32)[0]


@_exact
def _to_gaps(gap_C, best, least):  # type: ignore[no-untyped-def]
    """Similarities less the best one; infinitely little where they are below `least`."""
    for c in range(len(gap_C)):
        gap_C[c] = gap_C[c] - best if gap_C[c] >= least else np.float32(-np.inf)


@_exact
def _solve(gap_C, wanted):  # type: ignore[no-untyped-def]
    """1/τ with exp(entropy) = exp(wanted), by the steps of `nbclip.targets`."""
    low, high = _LOG_TEMPERATURE_BOUNDS
    x = _FIRST_LOG_TEMPERATURE
    for _ in range(_STEPS):
        entropy, slope = _entropy(gap_C, math.exp(-x))
        flatter = entropy < wanted
        if flatter:
            low = x
        else:
            high = x
        entropy = max(entropy, _LEAST)
        step = math.log(max(wanted, _LEAST) / entropy) * entropy / max(slope, _LEAST)
        following = x + min(max(step, -1.0), 1.0)
        inside = following < high if flatter else following > low
        x = following if inside else (low + high) / 2
        if inside and abs(step) < _CLOSE:
            break
    return math.exp(-x)


@_summing
def _entropy(gap_C, inverse):  # type: ignore[no-untyped-def]
    """Entropy in nats of softmax(gap / τ), and its derivative by ln τ."""
    total, mean, square = 0.0, 0.0, 0.0
    for c in range(len(gap_C)):
        scaled = max(gap_C[c] * inverse, _FARTHEST)
        weight = _exp(scaled)
        total += weight
        mean += weight * scaled
        square += weight * scaled * scaled
    mean /= total
    return math.log(total) - mean, square / total - mean * mean


@_summing
def _fill_weights(gap_C, inverse, mass, row_C):  # type: ignore[no-untyped-def]
    """Softmax of gap / τ, with sum `mass`."""
    total = 0.0
    for c in range(len(gap_C)):
        scaled = gap_C[c] * inverse
        weight = _exp(max(scaled, _FARTHEST)) if scaled > _FARTHEST else 0.0
        total += weight
        row_C[c] = weight
    share = np.float32(mass / total)
    for c in range(len(gap_C)):
        row_C[c] *= share
