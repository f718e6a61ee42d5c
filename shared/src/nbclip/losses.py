"""Losses of image-text training against soft targets: pure functions of cosines, for any training loop in torch.

    from nbclip.client import Service
    from nbclip.losses import cosines, cross_entropy

    with Service("http://127.0.0.1:8080") as service:
        for images, texts, image_ids in batches:
            cosine = cosines(normalize(image_tower(images)), normalize(text_tower(texts)))
            rows = torch.from_numpy(service.targets(image_ids).values)
            loss = cross_entropy(cosine, logit_scale.exp(), rows)

`nbclip.soft_target_loss` is a module that asks, gathers and compares in one call.

With c the cosines, s = exp(logit_scale), b = logit_bias, z = s·c + b, S the similarities, P the target rows, n rows:

    cross_entropy          ½(CE(z, P) + CE(zᵀ, P)), each over its own rows
                           one-hot P: InfoNCE (van den Oord et al., 2018), as in CLIP (Radford et al., 2021)
                           P of a graph: semantic matching, SM (Wang et al., MedCLIP, 2022; Wei, Kurtz, Cloppet, WACV 2025)
    mse_of_cosines         mean of (c - S)²                                 (Wei, Kurtz, Cloppet, WACV 2025)
    mse_of_probabilities   Σ_j (softmax(z)_ij - P_ij)², mean over rows
    sigmoid_soft           1/n Σ_ij BCE with logits(z_ij, clamp(S_ij, 0, 1))
    sigmoid_fff            1/n Σ_ij -logsigmoid(m_ij·z_ij), m = +1 if S_ij > θ or i = j, else -1
                           (Bulat et al., FFF, CVPR 2024; of one-hot S: SigLIP, Zhai et al., ICCV 2023)

Over several ranks each rank gathers all features, with their gradients, and passes its own rows of S or P with `own_R`. A loss
over a rank's rows, averaged over ranks of equal size, is the loss over the global batch.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D embedding dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_LEAST_GOAL = 1e-6
"""Keeps a bias finite where all pairs are negative, or all positive."""


@dataclass(frozen=True, slots=True)
class Cosines:
    """Cosines of a rank's images with all texts, and of its texts with all images: float32 or float64, [R, C] both."""

    image_text: Tensor
    text_image: Tensor


def cosines(image_RD: Tensor, text_RD: Tensor, image_CD: Tensor | None = None, text_CD: Tensor | None = None) -> Cosines:
    """All cosines that a rank's loss needs, in float32 unless the towers computed in float64.

    Args:
        image_RD: L2-normalised features of this rank's images.
        text_RD: those of its texts.
        image_CD: those of the global batch's images, gathered with gradients; None: this rank's are all there are.
        text_CD: the same of texts.
    """
    image_CD = image_RD if image_CD is None else image_CD
    text_CD = text_RD if text_CD is None else text_CD
    with torch.autocast(image_RD.device.type, enabled=False):
        return Cosines(widened(image_RD) @ widened(text_CD).T, widened(text_RD) @ widened(image_CD).T)


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def diagonal(cosine_RC: Tensor, own_R: Tensor | None = None) -> Tensor:
    """True at each row's own column, bool, [R, C].

    Args:
        cosine_RC: anything of that shape and device.
        own_R: column of each row's own pair, int64, [R]; None: row i's is column i.
    """
    rows, columns = cosine_RC.shape
    own_R = torch.arange(rows, device=cosine_RC.device) if own_R is None else own_R
    return own_R[:, None] == torch.arange(columns, device=cosine_RC.device)[None, :]


def cross_entropy(cosine: Cosines, scale: Tensor, rows_RC: Tensor) -> Tensor:
    """Mean over rows and both directions of the cross entropy of softmax(s·c) against the target rows: a scalar.

    Args:
        cosine: of this rank's pairs.
        scale: s, a scalar.
        rows_RC: P, each row ≥ 0 with sum 1. Both directions have the same rows, since similarity is symmetric.
    """
    per_direction = (
        -(rows_RC * functional.log_softmax(scale * cosine_RC, dim=1)).sum(dim=1).mean()
        for cosine_RC in (cosine.image_text, cosine.text_image)
    )
    return torch.stack(list(per_direction)).mean()


def entropy(rows_RC: Tensor) -> Tensor:
    """Entropy of each row in nats, [R], with 0·log 0 = 0: the least that `cross_entropy` can be."""
    entropy_R: Tensor = torch.special.entr(rows_RC).sum(dim=1)
    return entropy_R


def mse_of_cosines(
    cosine: Cosines, similarity_RC: Tensor, *, diagonal_weight: float | None = 0.5, own_R: Tensor | None = None
) -> Tensor:
    """Squared error of the cosines against the similarities, mean over pairs and both directions: a scalar.

    Args:
        cosine: of this rank's pairs.
        similarity_RC: S, [-1, 1].
        diagonal_weight: w makes it w·(the diagonal's mean) + (1 - w)·(the mean of the rest); None leaves the plain mean, in
            which the diagonal has 1/C of the weight.
        own_R: as in `diagonal`.
    """
    own_RC = diagonal(similarity_RC, own_R)
    errors = ((cosine_RC - similarity_RC).square() for cosine_RC in (cosine.image_text, cosine.text_image))
    columns = similarity_RC.shape[1]
    parts = [_weighted(error_RC, own_RC, diagonal_weight, columns, max(columns - 1, 1)) for error_RC in errors]
    return torch.stack(parts).mean()


def mse_of_probabilities(
    cosine: Cosines, scale: Tensor, rows_RC: Tensor, *, diagonal_weight: float | None = 0.5, own_R: Tensor | None = None
) -> Tensor:
    """Squared distance of softmax(s·c) from the target rows, mean over rows and both directions: a scalar.

    Args:
        cosine: of this rank's pairs.
        scale: s, a scalar.
        rows_RC: P, each row ≥ 0 with sum 1.
        diagonal_weight: as in `mse_of_cosines`, each part summed over a row's columns.
        own_R: as in `diagonal`.
    """
    own_RC = diagonal(rows_RC, own_R)
    found = (torch.softmax(scale * cosine_RC, dim=1) for cosine_RC in (cosine.image_text, cosine.text_image))
    parts = [_weighted((found_RC - rows_RC).square(), own_RC, diagonal_weight, 1, 1) for found_RC in found]
    return torch.stack(parts).mean()


def sigmoid_soft(cosine: Cosines, scale: Tensor, bias: Tensor | None, similarity_RC: Tensor) -> Tensor:
    """Binary cross entropy of every pair against its similarity, sum over columns and mean over rows: a scalar.

    Args:
        cosine: of this rank's pairs; each pair counts once, so only images with texts are read.
        scale: s, a scalar.
        bias: b, a scalar; None: 0.
        similarity_RC: S; below 0 counts as 0.
    """
    logits_RC = _logits(cosine, scale, bias)
    goal_RC = similarity_RC.clamp(0, 1)
    return functional.binary_cross_entropy_with_logits(logits_RC, goal_RC, reduction="none").sum(dim=1).mean()


def sigmoid_fff(
    cosine: Cosines,
    scale: Tensor,
    bias: Tensor | None,
    similarity_RC: Tensor,
    *,
    threshold: float = 0.5,
    own_R: Tensor | None = None,
) -> Tensor:
    """Log-sigmoid of every pair with the sign of its similarity, sum over columns and mean over rows: a scalar.

    Args:
        cosine: as in `sigmoid_soft`.
        scale: s, a scalar.
        bias: b, a scalar; None: 0.
        similarity_RC: S, [-1, 1].
        threshold: θ; a pair above it is positive, as is each row's own.
        own_R: as in `diagonal`.
    """
    logits_RC = _logits(cosine, scale, bias)
    positive_RC = (similarity_RC > threshold) | diagonal(similarity_RC, own_R)
    sign_RC = positive_RC.to(logits_RC.dtype) * 2 - 1
    return -functional.logsigmoid(sign_RC * logits_RC).sum(dim=1).mean()


def starting_bias(scale: Tensor, mean_cosine: Tensor, mean_goal: Tensor) -> Tensor:
    """logit(mean goal) - s·(mean cosine), a scalar: the bias with which a sigmoid loss expects of the mean pair what it should.

    So it begins by telling pairs apart. From logit 0, where most pairs should be negative, it begins by pushing all cosines down.

    Args:
        scale: s, a scalar.
        mean_cosine: over all pairs of the global batch.
        mean_goal: what they should have, such as S clamped to [0, 1], or the share of positive pairs.
    """
    bias: Tensor = torch.special.logit(mean_goal, eps=_LEAST_GOAL) - scale * mean_cosine
    return bias


def _weighted(
    error_RC: Tensor, own_RC: Tensor, diagonal_weight: float | None, pairs_a_row: int, other_pairs_a_row: int
) -> Tensor:
    """The diagonal's part and the rest's, each divided by what it has of a row."""
    rows = len(error_RC)
    if diagonal_weight is None:
        return error_RC.sum() / (rows * pairs_a_row)
    # Filled and not picked out: the size of a selection is known only once the device has computed it.
    on_diagonal = error_RC.masked_fill(~own_RC, 0).sum() / rows
    off_diagonal = error_RC.masked_fill(own_RC, 0).sum() / (rows * other_pairs_a_row)
    return diagonal_weight * on_diagonal + (1 - diagonal_weight) * off_diagonal


def _logits(cosine: Cosines, scale: Tensor, bias: Tensor | None) -> Tensor:
    logits_RC = scale * cosine.image_text
    return logits_RC if bias is None else logits_RC + bias
