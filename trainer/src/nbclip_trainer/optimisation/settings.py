"""Optimizer and learning rate."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field


class OptimisationSettings(Strict):
    """Optimizer and learning rate."""

    name: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    logit_scale_lr: float | None = Field(None, gt=0, description="null: lr")
    weight_decay: float = Field(0.1, ge=0, description="adamw, on matrices only")
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-6, gt=0)
    clip_norm: float | None = Field(1.0, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.1, ge=0, le=1, description="share of all steps")
