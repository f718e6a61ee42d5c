"""The target builder: similarities of a batch's images to target rows. One function, run by the service and by the trainer.

Shape legend: R rows (one rank's images), C columns (the global batch). Works on numpy arrays and torch tensors alike
(Python array API), on whatever device they are.

    off-diagonal part   Q_i = softmax over j ≠ i, h_j = 1, not a duplicate, of S_ij / τ_i     optional: keep_top_k first
                        τ_i given, or solved per row so that exp(entropy(Q_i)) = effective_neighbours
    target row          P_i = (1 - m)·Y_i + m·Q_i                 Y = row-normalised (I + D): duplicates are full positives
    no evidence         h_i = 0 or max_j S_ij < floor:  P_i = Y_i
    paper-literal       P = softmax(S / τ) per row, diagonal inside (Wei, Kurtz, Cloppet, WACV 2025)

The column direction (text to image) needs no transposed matrix: S is symmetric, so a rank's texts have the very rows of its
images, and each direction is normalised over its own candidates. Transposing P would be a bug: P is not symmetric.
"""

from __future__ import annotations

from typing import Any

import array_api_compat

from nbclip.schemas.targets import TargetParameters

Array = Any
"""A numpy array or a torch tensor."""

_LOG_TEMPERATURE_BOUNDS = (-9.21, 9.21)
_FIRST_LOG_TEMPERATURE = -3.5
_STEPS = 12
_LEAST = 1e-6
_NO_CANDIDATE = -1e9
"""Stands for -∞ where it is multiplied by 1/τ and squared: finite in float32, and its exponential is 0."""


def build_targets(
    similarity_RC: Array,
    own_R: Array,
    has_knowledge_C: Array,
    parameters: TargetParameters,
    *,
    duplicate_RC: Array | None = None,
) -> Array:
    """Target rows for a batch.

    Args:
        similarity_RC: graph similarity S, floating, [-1, 1], [R, C].
        own_R: column of each row's own image, integer, [R].
        has_knowledge_C: True where the image has a usable CUI, bool, [C].
        parameters: form, mass, temperature or effective neighbours, top-k, floor.
        duplicate_RC: True where row and column are the same picture or caption, bool, [R, C]; None: no duplicates.

    Returns:
        P, [R, C], dtype of `similarity_RC`, each row ≥ 0 with sum 1. Of 16-bit floats it is made in float32 and rounded last:
        they can't hold what the temperatures are solved with.
    """
    xp = array_api_compat.array_namespace(similarity_RC)
    if xp.finfo(similarity_RC.dtype).bits < 32:
        wide_RC = xp.astype(similarity_RC, xp.float32)
        rows_RC = build_targets(wide_RC, own_R, has_knowledge_C, parameters, duplicate_RC=duplicate_RC)
        return xp.astype(rows_RC, similarity_RC.dtype)
    positive_RC = _positives(xp, similarity_RC, own_R, duplicate_RC)
    hard_RC = _row_normalised(xp, positive_RC, similarity_RC)
    known_R1 = has_knowledge_C[own_R][:, None]
    if parameters.form == "paper-literal":
        return xp.where(known_R1, _softmax(xp, similarity_RC, parameters.temperature or 1.0), hard_RC)
    candidate_RC = ~positive_RC & has_knowledge_C[None, :]
    lowest = -2.0  # below every similarity
    best_R1 = xp.max(xp.where(candidate_RC, similarity_RC, lowest), axis=1, keepdims=True)
    evidence_R1 = known_R1 & (best_R1 >= parameters.floor)
    if parameters.top_k is not None and parameters.top_k < similarity_RC.shape[1]:
        candidate_RC = candidate_RC & _is_top_k(xp, xp.where(candidate_RC, similarity_RC, lowest), parameters.top_k)
    neighbour_RC = _neighbour_distribution(xp, similarity_RC - best_R1, candidate_RC, parameters)
    soft_RC = (1.0 - parameters.neighbour_mass) * hard_RC + parameters.neighbour_mass * neighbour_RC
    return xp.where(evidence_R1, soft_RC, hard_RC)


def hard_targets(similarity_RC: Array, own_R: Array, *, duplicate_RC: Array | None = None) -> Array:
    """Y, what `build_targets` gives where nothing is known: the row's own image and its duplicates, [R, C], rows sum to 1."""
    xp = array_api_compat.array_namespace(similarity_RC)
    return _row_normalised(xp, _positives(xp, similarity_RC, own_R, duplicate_RC), similarity_RC)


def duplicate_mask(row_keys_R: Array, column_keys_C: Array) -> Array:
    """True where a row's key equals a column's: bool, [R, C]. Keys are integers, such as `caption_key` gives."""
    return row_keys_R[:, None] == column_keys_C[None, :]


def _positives(xp: Any, similarity_RC: Array, own_R: Array, duplicate_RC: Array | None) -> Array:
    columns_C = xp.arange(similarity_RC.shape[1], device=array_api_compat.device(similarity_RC))
    own_RC = columns_C[None, :] == own_R[:, None]
    return own_RC if duplicate_RC is None else own_RC | duplicate_RC


def _row_normalised(xp: Any, positive_RC: Array, similarity_RC: Array) -> Array:
    one_RC = xp.astype(positive_RC, similarity_RC.dtype)
    return one_RC / xp.sum(one_RC, axis=1, keepdims=True)


def _softmax(xp: Any, similarity_RC: Array, temperature: float) -> Array:
    weights_RC = xp.exp((similarity_RC - xp.max(similarity_RC, axis=1, keepdims=True)) / temperature)
    return weights_RC / xp.sum(weights_RC, axis=1, keepdims=True)


def _is_top_k(xp: Any, score_RC: Array, k: int) -> Array:
    """True at the k largest of each row; ties at the k-th value are all kept, so that column order never matters."""
    threshold_R1 = xp.sort(score_RC, axis=1)[:, -k][:, None]
    return score_RC >= threshold_R1


def _neighbour_distribution(xp: Any, gap_RC: Array, candidate_RC: Array, parameters: TargetParameters) -> Array:
    """Q: softmax of `gap_RC` / τ over the candidates (gap ≤ 0 is S minus its row maximum); zero rows where there is none."""
    gap_RC = xp.where(candidate_RC, gap_RC, _NO_CANDIDATE)
    if parameters.temperature is not None:
        inverse_R1 = xp.ones_like(gap_RC[:, :1]) / parameters.temperature
    else:
        inverse_R1 = _solve_inverse_temperature(xp, gap_RC, parameters.effective_neighbours)
    weights_RC = xp.exp(gap_RC * inverse_R1)
    return weights_RC / _at_least_one_candidate(xp, xp.sum(weights_RC, axis=1, keepdims=True))


def _solve_inverse_temperature(xp: Any, gap_RC: Array, effective_neighbours: float) -> Array:
    """1/τ per row with exp(entropy) = effective_neighbours, [R, 1].

    Entropy H grows with x = ln τ, and dH/dx is the variance of gap/τ under the softmax. Newton's method on ln H, each step at
    most 1; bisection where a step would leave what is known to hold the solution. A row with fewer candidates than asked for
    ends near the largest τ (uniform), one with more ties at its maximum near the smallest (uniform over the ties).
    """
    low_R1 = xp.full_like(gap_RC[:, :1], _LOG_TEMPERATURE_BOUNDS[0])
    high_R1 = xp.full_like(low_R1, _LOG_TEMPERATURE_BOUNDS[1])
    log_temperature_R1 = xp.full_like(low_R1, _FIRST_LOG_TEMPERATURE)
    wanted_R1 = xp.log(xp.full_like(low_R1, effective_neighbours))
    for _ in range(_STEPS):
        entropy_R1, slope_R1 = _entropy(xp, gap_RC, xp.exp(-log_temperature_R1))
        flatter_R1 = entropy_R1 < wanted_R1
        low_R1 = xp.where(flatter_R1, log_temperature_R1, low_R1)
        high_R1 = xp.where(flatter_R1, high_R1, log_temperature_R1)
        entropy_R1 = xp.clip(entropy_R1, _LEAST, None)
        step_R1 = xp.log(xp.clip(wanted_R1, _LEAST, None) / entropy_R1) * entropy_R1 / xp.clip(slope_R1, _LEAST, None)
        next_R1 = log_temperature_R1 + xp.clip(step_R1, -1.0, 1.0)
        inside_R1 = xp.where(flatter_R1, next_R1 < high_R1, next_R1 > low_R1)
        log_temperature_R1 = xp.where(inside_R1, next_R1, (low_R1 + high_R1) / 2)
    return xp.exp(-log_temperature_R1)


def _entropy(xp: Any, gap_RC: Array, inverse_R1: Array) -> tuple[Array, Array]:
    """Entropy in nats of softmax(gap / τ), ln Z - Σ w·gap/τ / Z, and its derivative by ln τ; both [R, 1]."""
    scaled_RC = gap_RC * inverse_R1
    weights_RC = xp.exp(scaled_RC)
    total_R1 = _at_least_one_candidate(xp, xp.sum(weights_RC, axis=1, keepdims=True))
    weighted_RC = weights_RC * scaled_RC
    mean_R1 = xp.sum(weighted_RC, axis=1, keepdims=True) / total_R1
    square_R1 = xp.vecdot(weighted_RC, scaled_RC, axis=-1)[:, None] / total_R1
    return xp.log(total_R1) - mean_R1, square_R1 - mean_R1 * mean_R1


def _at_least_one_candidate(xp: Any, total_R1: Array) -> Array:
    return xp.where(total_R1 > 0, total_R1, xp.ones_like(total_R1))
