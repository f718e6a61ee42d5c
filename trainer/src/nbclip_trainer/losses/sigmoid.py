"""Losses that judge every pair by itself.

Shape legend: R rows (one rank's pairs), C columns (the global batch).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from nbclip_trainer.losses.cosines import Cosines, diagonal
from nbclip_trainer.targets.rows import Targets


def sigmoid_soft(cosine: Cosines, scale: Tensor, bias: Tensor | None, targets: Targets) -> Tensor:
    """Binary cross entropy of every pair against its similarity; sum over columns, mean over rows."""
    logits_RC = _logits(cosine.image_text, scale, bias)
    goal_RC = targets.similarity.clamp(0, 1)
    return functional.binary_cross_entropy_with_logits(logits_RC, goal_RC, reduction="none").sum(dim=1).mean()


def sigmoid_fff(cosine: Cosines, scale: Tensor, bias: Tensor | None, targets: Targets, threshold: float) -> Tensor:
    """Log-sigmoid of every pair with the sign of its similarity above `threshold`; sum over columns, mean over rows."""
    logits_RC = _logits(cosine.image_text, scale, bias)
    positive_RC = (targets.similarity > threshold) | diagonal(targets.own, logits_RC.shape[1])
    sign_RC = positive_RC.to(logits_RC.dtype) * 2 - 1
    return -functional.logsigmoid(sign_RC * logits_RC).sum(dim=1).mean()


def starting_bias(cosine: Cosines, scale: Tensor, targets: Targets) -> Tensor:
    """-s·(mean off-diagonal cosine): the logit bias from which most pairs start near logit 0."""
    cosine_RC = cosine.image_text
    return -scale * cosine_RC[~diagonal(targets.own, cosine_RC.shape[1])].mean()


def _logits(cosine_RC: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    logits_RC = scale * cosine_RC
    return logits_RC if bias is None else logits_RC + bias
