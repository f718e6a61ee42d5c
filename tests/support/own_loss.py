"""A loss of one's own, as `trainer/losses` would have it."""

from typing import Literal

from nbclip_trainer.losses.loss import Loss
from pydantic import Field


class Hinge(Loss):
    """Pairs less alike than the graph says, by more than a margin, are pulled together."""

    name: Literal["hinge"] = "hinge"
    margin: float = Field(0.1, ge=0)

    def compute(self, given):
        short = (given.targets.similarity - given.cosine.image_text - self.margin).clamp(min=0)
        return {"loss": short.mean(), "reached": (short == 0).float().mean()}
