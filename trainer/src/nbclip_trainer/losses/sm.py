"""Semantic matching, the loss of NB-CLIP."""

from __future__ import annotations

from typing import ClassVar, Literal

from nbclip_trainer.losses.loss import Loss, LossInput, Scalars


class SemanticMatching(Loss):
    """Cross entropy against the target rows; beside it `kl`, the divergence from them, whose optimum is 0."""

    name: Literal["sm"] = "sm"
    is_cross_entropy: ClassVar[bool] = True

    def compute(self, given: LossInput) -> Scalars:
        """See `Loss`."""
        from nbclip.losses import cross_entropy, entropy

        rows_RC = given.targets.rows
        loss = cross_entropy(given.cosine, given.scale, rows_RC)
        return {"loss": loss, "kl": loss.detach() - entropy(rows_RC).mean()}
