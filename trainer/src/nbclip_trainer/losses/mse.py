"""Squared error of cosines or probabilities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip_trainer.losses.loss import Loss, LossInput, Scalars


class SquaredError(Loss):
    """Squared error of cosines against similarities, or of their softmax against target rows."""

    name: Literal["mse"] = "mse"
    mse_on: Literal["cos", "prob"] = Field("cos", description="the error of cosines, or of their softmax")
    diagonal_weight: float | None = Field(0.5, ge=0, le=1, description="the diagonal's share of the loss; null: 1/N")

    @property
    def compares_rows(self) -> bool:
        """See `Loss`."""
        return self.mse_on == "prob"

    def compute(self, given: LossInput) -> Scalars:
        """See `Loss`."""
        from nbclip.losses import mse_of_cosines, mse_of_probabilities

        weight, targets = self.diagonal_weight, given.targets
        if self.mse_on == "cos":
            loss = mse_of_cosines(given.cosine, targets.similarity, diagonal_weight=weight, own_R=targets.own)
        else:
            loss = mse_of_probabilities(given.cosine, given.scale, targets.rows, diagonal_weight=weight, own_R=targets.own)
        return {"loss": loss}
