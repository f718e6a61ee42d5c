"""Optimizer and learning rate."""

from __future__ import annotations

from typing import Literal

from nbclip.schemas.base import Strict
from pydantic import Field


class OptimisationSettings(Strict):
    """Optimizer and learning rate."""

    name: Literal["adam", "adamw"] = Field("adamw", description="optimizer")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    image_lr: float | None = Field(None, gt=0, description="learning rate of the image tower; null: that of `lr`")
    text_lr: float | None = Field(None, gt=0, description="learning rate of the text tower; null: that of `lr`")
    head_lr: float | None = Field(None, gt=0, description="learning rate of both projections; null: that of their tower")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="factor d on the learning rate from block to block: dⁿ in the n-th from the top, 1 in the projection",
    )
    logit_scale_lr: float | None = Field(None, gt=0, description="learning rate of logit scale and bias; null: that of `lr`")
    weight_decay: float = Field(0.1, ge=0, description="weight decay of adamw, on matrices only")
    betas: tuple[float, float] = Field((0.9, 0.98), description="Adam's β₁ and β₂")
    eps: float = Field(1e-6, gt=0, description="Adam's ε")
    clip_norm: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: not clipped")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="learning rate after warm-up")
    warmup: float = Field(0.1, ge=0, le=1, description="share of all steps over which the learning rate rises")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of an average of the weights, which is then validated, scored and exported; null: none",
    )
