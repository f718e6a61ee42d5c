"""InfoNCE, the loss of CLIP."""

from __future__ import annotations

from typing import ClassVar, Literal

from nbclip_trainer.losses.loss import Loss, LossInput, Scalars


class InfoNCE(Loss):
    """Cross entropy against one-hot rows: without knowledge there are no others."""

    name: Literal["infonce"] = "infonce"
    takes_knowledge: ClassVar[bool] = False
    is_cross_entropy: ClassVar[bool] = True

    def compute(self, given: LossInput) -> Scalars:
        """See `Loss`."""
        from nbclip.losses import cross_entropy

        return {"loss": cross_entropy(given.cosine, given.scale, given.targets.rows)}
