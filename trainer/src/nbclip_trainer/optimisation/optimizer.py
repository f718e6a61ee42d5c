"""The optimizer, its parameter groups, and its state as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nbclip_trainer.optimisation.settings import OptimisationSettings

_SCALARS = ("logit_scale", "logit_bias")
_HIGHEST_LOGIT_SCALE = math.log(100)


def build_optimizer(model: nn.Module, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over three groups: matrices (with weight decay), vectors, and logit scale and bias."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    towers = [(name, parameter) for name, parameter in named if name not in _SCALARS]
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in towers if p.ndim >= 2], "weight_decay": settings.weight_decay, "base_lr": settings.lr},
        {"params": [p for _, p in towers if p.ndim < 2], "weight_decay": 0.0, "base_lr": settings.lr},
        {
            "params": [p for name, p in named if name in _SCALARS],
            "weight_decay": 0.0,
            "base_lr": settings.logit_scale_lr or settings.lr,
        },
    ]
    if settings.name == "adam":
        return torch.optim.Adam(
            [{**group, "weight_decay": 0.0} for group in groups], betas=settings.betas, eps=settings.eps, fused=True
        )
    return torch.optim.AdamW(groups, betas=settings.betas, eps=settings.eps, fused=True)


@torch.no_grad()
def hold_logit_scale(model: nn.Module) -> None:
    """Keeps exp(logit_scale) in [1, 100] (Radford et al., CLIP, 2021); beside a bias only above 1, as SigLIP's is over 100."""
    highest = _HIGHEST_LOGIT_SCALE if getattr(model, "logit_bias", None) is None else None
    model.get_parameter("logit_scale").clamp_(0, highest)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as tensors named `<parameter>/<key>`."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    order = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    states: dict[str, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        states.setdefault(name, {})[key] = tensor
    state = {
        index: {key: _laid_out_as(parameter, tensor) for key, tensor in states[names[parameter]].items()}
        for index, parameter in enumerate(order)
        if names[parameter] in states
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _laid_out_as(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Fused optimizers walk parameter and state side by side in memory, so both must have one order of dimensions."""
    return torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor) if tensor.shape == parameter.shape else tensor
