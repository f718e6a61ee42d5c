"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

import torch

from nbclip_trainer.optimisation.settings import OptimisationSettings


def learning_rate_factor(step: int, steps: int, settings: OptimisationSettings) -> float:
    """Share of the full learning rate at a step (from 0) of a run of `steps`, (0, 1].

    Rises linearly over the warm-up, then stays, or falls along half a cosine towards 0 after the last step.
    """
    warmup = warmup_steps(steps, settings)
    if step < warmup:
        return (step + 1) / warmup
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def warmup_steps(steps: int, settings: OptimisationSettings) -> int:
    """Steps of the warm-up."""
    return round(settings.warmup * steps)


def set_learning_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Sets each group to its own full rate times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
