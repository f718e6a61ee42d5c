"""The optimizer, its parameter groups, and its state as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nbclip_trainer.models.stages import SCALARS, tower_of, towers_of
from nbclip_trainer.optimisation.settings import OptimisationSettings

_HIGHEST_LOGIT_SCALE = 100.0


def build_optimizer(model: nn.Module, settings: OptimisationSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over what trains, in groups of one learning rate and one weight decay.

    Matrices have weight decay; vectors, logit scale and bias don't.

    Raises:
        InvalidInput: rates by layer for a tower whose blocks are not known.
    """
    groups: dict[tuple[bool, bool, float], list[nn.Parameter]] = {}
    rates = learning_rates(model, settings)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name in SCALARS, parameter.ndim < 2, -rates[name]), []).append(parameter)
    decay = settings.weight_decay if settings.name == "adamw" else 0.0
    parts: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": 0.0 if scalar or vector else decay, "base_lr": -rate}
        for (scalar, vector, rate), parameters in sorted(groups.items())
    ]
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(parts, betas=settings.betas, eps=settings.eps, fused=True)


def learning_rates(model: nn.Module, settings: OptimisationSettings) -> dict[str, float]:
    """The full learning rate of each parameter: that of its tower × layer_decay^depth (BEiT; Bao et al., ICLR 2022)."""
    of_tower = {
        None: settings.logit_scale_lr or settings.lr,
        "image": settings.image_lr or settings.lr,
        "text": settings.text_lr or settings.lr,
    }
    rates = {name: of_tower[tower_of(name)] for name, _ in model.named_parameters()}
    if settings.layer_decay < 1 or settings.head_lr is not None:
        depths = {name: depth for tower in towers_of(model) for name, depth in tower.depths().items()}
        for name, depth in depths.items():
            whole = rates[name] if depth or settings.head_lr is None else settings.head_lr
            rates[name] = whole * settings.layer_decay**depth
    return rates


@torch.no_grad()
def hold_logit_scale(model: nn.Module, highest: float | None = None) -> None:
    """Keeps exp(logit_scale), where it trains, between 1 and `highest`.

    None: at most 100 (Radford et al., CLIP, 2021); beside a bias only above 1, as SigLIP's is over 100.
    """
    scale = model.get_parameter("logit_scale")
    if not scale.requires_grad:
        return
    if highest is None and getattr(model, "logit_bias", None) is None:
        highest = _HIGHEST_LOGIT_SCALE
    scale.clamp_(0, None if highest is None else math.log(highest))


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
