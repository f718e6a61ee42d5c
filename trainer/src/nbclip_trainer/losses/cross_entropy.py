"""Softmax losses against target rows: InfoNCE (one-hot rows) and semantic matching (the graph's rows)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from nbclip_trainer.losses.cosines import Cosines
from nbclip_trainer.targets.rows import Targets


def cross_entropy(cosine: Cosines, scale: Tensor, targets: Targets) -> Tensor:
    """Mean over rows and both directions of the cross entropy of softmax(s·c) against the target rows."""
    per_direction = (
        -(targets.rows * functional.log_softmax(scale * cosine_RC, dim=1)).sum(dim=1).mean()
        for cosine_RC in (cosine.image_text, cosine.text_image)
    )
    return torch.stack(list(per_direction)).mean()


def entropy(rows_RC: Tensor) -> Tensor:
    """Entropy of each row in nats, [R]; 0·log 0 = 0."""
    entropy_R: Tensor = torch.special.entr(rows_RC).sum(dim=1)
    return entropy_R
