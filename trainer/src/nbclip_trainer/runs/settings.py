"""How often figures and checkpoints are written."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field

BoardName = Literal["wandb", "mlflow"]


class LogSettings(Strict):
    """How often figures are written, and where else they go."""

    every: int = Field(1, ge=1, description="steps between records of the log")
    diagnostics_every: int = Field(50, ge=1, description="steps between diagnostics")
    boards: tuple[BoardName, ...] = Field(
        (), description="where the log goes besides TensorBoard; each is an extra of this package"
    )
    project: str = Field("nbclip", min_length=1, description="project of wandb, experiment of mlflow")


class CheckpointSettings(Strict):
    """How often, and how many are kept."""

    every: int | None = Field(None, ge=1, description="steps between checkpoints; null: one at the end of each epoch")
    every_minutes: float | None = Field(
        15, gt=0, description="minutes after which a checkpoint is due, whatever the step; null: only by steps and epochs"
    )
    keep: int = Field(2, ge=1, description="newest checkpoints to keep besides the best")
    select: Literal["last", "best"] = Field(
        "last", description="checkpoint to evaluate; best: the one with the lowest validation loss"
    )
