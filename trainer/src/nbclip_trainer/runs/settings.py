"""How often figures and checkpoints are written, and what is validated."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field

BoardName = Literal["wandb", "mlflow"]
BestBy = Literal["loss", "recall", "precision_at_10", "cui_coverage_at_10"]
"""Figures of a validation that can choose a checkpoint: the lowest loss, the highest of the others."""


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
    keep: int = Field(2, ge=1, description="newest checkpoints to keep besides the best")
    select: Literal["last", "best"] = Field(
        "last", description="checkpoint to evaluate; best: that of the best validation, of a run without validation the last"
    )
    best_by: BestBy = Field(
        "loss", description="figure of the validation that says which checkpoint is the best, and when to end early"
    )


class ValidationSettings(Strict):
    """What is measured on the validation split, and when a run ends because of it."""

    every: int | None = Field(None, ge=1, description="steps between validations besides those at the end of each epoch")
    retrieval: bool = Field(
        True, description="measure Recall@K besides the loss, and where the split has labels P@10 and CUI coverage@10"
    )
    patience: int | None = Field(
        None, ge=1, description="epochs without a better checkpoint.best_by after which the run ends; null: it never ends early"
    )
    min_improvement: float = Field(
        0.0, ge=0, description="a validation is better if checkpoint.best_by has gained more than this on the best before"
    )
