"""What of a model a run trains, where its projections start, and how a step calls it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.features import FeaturesOfImages
from nbclip_trainer.data.images import Images
from nbclip_trainer.models.building import ModelParts
from nbclip_trainer.models.captions import ByRow
from nbclip_trainer.models.heads import Dropping, Heads, start_at_components
from nbclip_trainer.models.probing import probe
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.parallel.averaging import Example, averaging
from nbclip_trainer.parallel.collectives import copy_from_first
from nbclip_trainer.parallel.world import World

_PART = 4096
"""Rows whose features are read at once."""


def network_of(model: nn.Module, config: TrainConfig) -> nn.Module:
    """The model, or with `data.features` what of it is above the towers."""
    if config.data.features is not None:
        return Heads(model, config.model)
    return Dropping(model, config.model) if any(tower.dropout for _, tower in config.model.towers()) else model


def start_projections(
    model: nn.Module, images: Images, texts: ByRow, rows: Sequence[int], settings: ModelSettings, world: World
) -> None:
    """Puts projections with `start: pca` where they start, on every rank, by the features of the rows."""
    starting = [name for name, tower in settings.towers() if tower.start == "pca"]
    parts = [rows[first : first + _PART] for first in range(0, len(rows), _PART)]
    for name in starting if world.leads else ():
        of_images = (decoded.pixels for decoded in images.plain(parts))
        start_at_components(model, name, of_images if name == "image" else (texts[part] for part in parts))
    if starting:
        copy_from_first(model, world)


def encoder_of(network: nn.Module, pairs: Example, world: World) -> tuple[nn.Module, int]:
    """The network as a step calls it, and the operations of a pair. Weights that no feature depends on are locked."""
    probed = probe(network, pairs)
    for name in probed.idle:
        network.get_parameter(name).requires_grad_(False)
    return averaging(network, world, pairs), probed.flops_of_a_pair


def example(parts: ModelParts, images: Images, texts: ByRow, device: torch.device) -> Example:
    """Two pairs of nothing, in the shapes that the network takes."""
    size = images.features.shape[2:] if isinstance(images, FeaturesOfImages) else parts.preprocess.input_size
    tokens = torch.zeros_like(texts[:2], device=device)
    return torch.zeros(2, *size, device=device), tokens if tokens.is_floating_point() else tokens.long()
