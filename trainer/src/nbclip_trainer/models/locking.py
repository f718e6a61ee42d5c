"""Locked towers (LiT; Zhai et al., CVPR 2022): what of a model trains.

open_clip's own `lock` counts the projection as a block in one kind of tower and not in another, knows no blocks of a
ModifiedResNet or of BERT, and its frozen batch normalisation loses the activation that timm's has inside.
"""

from __future__ import annotations

from nbclip.errors import InvalidInput
from torch import nn

from nbclip_trainer.models.adapters import ADAPTER
from nbclip_trainer.models.settings import ModelSettings, TowerSettings
from nbclip_trainer.models.stages import SCALARS, TowerName, tower_named, tower_of


def lock(model: nn.Module, settings: ModelSettings) -> None:
    """Takes the gradient from what `model.image` and `model.text` lock, and from a logit scale that is fixed.

    Raises:
        InvalidInput: a tower has no such blocks, or nothing is left to train.
    """
    for name, chosen in settings.towers():
        if chosen.is_locked or not chosen.projection:
            _lock_tower(model, name, chosen)
    if not {name for name, parameter in model.named_parameters() if parameter.requires_grad} - {*SCALARS}:
        raise InvalidInput(
            "both towers are locked and so are their projections: nothing is left to train",
            hint="model.image.projection=true, or unlock blocks: model.image.unlocked=N",
        )
    if not settings.logit_scale_trains:
        model.get_parameter("logit_scale").requires_grad_(False)


def set_to_train(model: nn.Module, settings: ModelSettings) -> None:
    """Train mode for what trains; what is locked computes as in evaluation.

    So a locked block has no dropout, and its batch normalisation uses its statistics and keeps them.
    """
    model.train()
    for name, chosen in settings.towers():
        if not chosen.is_locked:
            continue
        modules = {path: module for path, module in model.named_modules() if path and tower_of(path) == name}
        for module in modules.values():
            module.training = False
        for path, module in modules.items():
            if ADAPTER in path or _trains_whole(module):
                module.train()


def unchanging(model: nn.Module, settings: ModelSettings) -> frozenset[str]:
    """The names in the model's state dict of what no step changes: locked weights, and the statistics of what is locked."""
    locked = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    towers = {name for name, chosen in settings.towers() if chosen.is_locked}
    for path, module in model.named_modules():
        if tower_of(path) in towers and not _trains_whole(module):
            locked |= {f"{path}.{name}" for name, _ in module.named_buffers(recurse=False)}
    return frozenset(locked & model.state_dict().keys())


def trained_share(model: nn.Module) -> dict[str, int]:
    """How many numbers of the model train, and how many it has."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return {"trained": sum(size for size, trains in sizes if trains), "all": sum(size for size, _ in sizes)}


def _lock_tower(model: nn.Module, name: TowerName, chosen: TowerSettings) -> None:
    tower, unlocked = tower_named(model, name), chosen.unlocked or 0
    blocks = len(tower.stages) - 1
    if unlocked > blocks:
        raise InvalidInput(
            f"model.{name}.unlocked={unlocked}: the tower has {blocks} blocks", hint="null trains all of it, embeddings too"
        )
    locked = list(tower.stages[: len(tower.stages) - unlocked]) if chosen.is_locked else []
    if not chosen.projection:
        locked.append(tower.projection)
    for parameter in (name for stage in locked for name in stage if ADAPTER not in name):
        model.get_parameter(parameter).requires_grad_(False)


def _trains_whole(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and all(parameter.requires_grad for parameter in parameters)
