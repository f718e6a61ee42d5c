"""A sigmoid for every pair, positive or negative by a threshold on the pair's similarity."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from nbclip_trainer.losses.loss import Loss, LossInput, Scalars

if TYPE_CHECKING:
    from torch import Tensor

    from nbclip_trainer.targets.rows import Targets


class ThresholdSigmoid(Loss):
    """Log-sigmoid of every pair with the sign of its similarity above the threshold (Bulat et al., FFF, CVPR 2024)."""

    name: Literal["sigmoid_fff"] = "sigmoid_fff"
    has_bias: ClassVar[bool] = True
    threshold: float = Field(0.5, ge=-1, le=1, description="a pair above is positive")

    def goals(self, targets: Targets) -> Tensor:
        """See `Loss`."""
        from nbclip.losses import diagonal

        return ((targets.similarity > self.threshold) | diagonal(targets.similarity, targets.own)).float()

    def compute(self, given: LossInput) -> Scalars:
        """See `Loss`."""
        from nbclip.losses import sigmoid_fff

        logits = given.cosine, given.scale, given.bias
        return {"loss": sigmoid_fff(*logits, given.targets.similarity, threshold=self.threshold, own_R=given.targets.own)}
