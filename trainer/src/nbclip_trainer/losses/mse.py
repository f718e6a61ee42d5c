"""Squared error of cosines or probabilities, the diagonal weighted apart.

Shape legend: R rows (one rank's pairs), C columns (the global batch).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nbclip_trainer.config import LossSettings
from nbclip_trainer.losses.cosines import Cosines, diagonal
from nbclip_trainer.targets.rows import Targets


def mse(cosine: Cosines, scale: Tensor, targets: Targets, settings: LossSettings) -> Tensor:
    """Squared error against similarities (`mse_on=cos`) or of the softmax against target rows (`mse_on=prob`).

    `diagonal_weight` w makes it w·(diagonal's part) + (1 - w)·(the rest's), each a mean over its pairs; for probabilities
    the parts are summed over a row's columns. None leaves the plain mean, in which the diagonal has 1/N of the weight.
    """
    goal_RC = targets.similarity if settings.mse_on == "cos" else targets.rows
    per_direction = []
    for cosine_RC in (cosine.image_text, cosine.text_image):
        found_RC = cosine_RC if settings.mse_on == "cos" else torch.softmax(scale * cosine_RC, dim=1)
        per_direction.append(_weighted((found_RC - goal_RC).square(), targets.own, settings))
    return torch.stack(per_direction).mean()


def _weighted(error_RC: Tensor, own_R: Tensor, settings: LossSettings) -> Tensor:
    rows, columns = error_RC.shape
    pairs_a_row = 1 if settings.mse_on == "prob" else columns
    if settings.diagonal_weight is None:
        return error_RC.sum() / (rows * pairs_a_row)
    own_RC = diagonal(own_R, columns)
    other_pairs_a_row = 1 if settings.mse_on == "prob" else max(columns - 1, 1)
    on_diagonal = error_RC[own_RC].mean()
    off_diagonal = error_RC[~own_RC].sum() / (rows * other_pairs_a_row)
    return settings.diagonal_weight * on_diagonal + (1 - settings.diagonal_weight) * off_diagonal
