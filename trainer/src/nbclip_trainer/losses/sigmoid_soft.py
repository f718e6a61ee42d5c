"""A sigmoid for every pair, whose goal is the pair's similarity."""

from __future__ import annotations

from typing import ClassVar, Literal

from nbclip_trainer.losses.loss import Loss, LossInput, Scalars


class SoftSigmoid(Loss):
    """Binary cross entropy of every pair against its similarity."""

    name: Literal["sigmoid_soft"] = "sigmoid_soft"
    has_bias: ClassVar[bool] = True

    def compute(self, given: LossInput) -> Scalars:
        """See `Loss`."""
        from nbclip.losses import sigmoid_soft

        return {"loss": sigmoid_soft(given.cosine, given.scale, given.bias, given.targets.similarity)}
