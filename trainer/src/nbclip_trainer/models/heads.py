"""Towers and their projections as two functions: what a tower computes, and what is trained on it.

Shape legend: N pairs, B of a batch, E dimensions before a projection, D dimensions of the joint space.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from nbclip.errors import InvalidInput
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from nbclip_trainer.models.projections import unprojected, unprojected_text
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.models.stages import TowerName, tower_named


class Heads(nn.Module):
    """A model above its towers: takes what they compute where the model takes images and tokens, and gives what it gives.

    It has the model's own parameters, so that what trains here trains there.
    """

    def __init__(self, model: nn.Module, settings: ModelSettings) -> None:
        """Raises InvalidInput where there is dropout before a projection, and no projection."""
        super().__init__()
        self.model: Any = model
        self._dropped = {name: tower.dropout for name, tower in settings.towers()}
        with unprojected(model.visual) as image, unprojected_text(model) as text:
            # In a dict, so that no part of the model is registered twice.
            self._projections = {"image": image, "text": text}
        for name, share in self._dropped.items():
            if share and self._projections[name] is None:
                raise InvalidInput(
                    f"model.{name}.dropout={share:g}: the tower has no projection to drop before",
                    hint=f"leave out model.{name}.dropout",
                )

    def forward(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """As open_clip's models with `output_dict`, of features before the projections."""
        image, text = self._projected("image", image), self._projected("text", text)
        bias = {} if self.model.logit_bias is None else {"logit_bias": self.model.logit_bias}
        return {
            "image_features": normalize(image, dim=-1),
            "text_features": normalize(text, dim=-1),
            "logit_scale": self.model.logit_scale.exp(),
            **bias,
        }

    def _projected(self, name: TowerName, features: Tensor) -> Tensor:
        project = self._projections[name]
        # The model is in train mode whatever of it is locked.
        kept = dropout(features, self._dropped[name], self.model.training)
        return kept if project is None else project(kept)


class Dropping(nn.Module):
    """A whole model, in whose training some of what the towers compute is dropped before the projections."""

    def __init__(self, model: nn.Module, settings: ModelSettings) -> None:
        super().__init__()
        self.heads = Heads(model, settings)

    def forward(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """As open_clip's models with `output_dict`."""
        model = self.heads.model
        with unprojected(model.visual), unprojected_text(model):
            features = model.encode_image(image, normalize=False), model.encode_text(text, normalize=False)
        return cast(dict[str, Tensor], self.heads(*features))


@torch.no_grad()
def start_at_components(model: nn.Module, name: TowerName, feature_BEs: Iterable[Tensor]) -> None:
    """Puts into a tower's projection the D principal components of features before it, the largest first.

    These are eigenvectors of the covariance, of length 1 and with their largest entry positive. The features themselves are
    projected as they are, not less their mean: a bias of the projection starts at 0.

    Args:
        model: changed in place.
        name: which tower.
        feature_BEs: all features, in parts.

    Raises:
        InvalidInput: the projection is not one matrix, or gives more dimensions than it takes.
    """
    weights = {one: model.get_parameter(one) for one in tower_named(model, name).projection}
    matrices = {one: weight for one, weight in weights.items() if not one.endswith(".bias")}
    refused = f"model.{name}.start=pca: "
    if len(matrices) != 1:
        raise InvalidInput(f"{refused}the tower's projection is not one matrix", hint=f"leave out model.{name}.start")
    [(name_of_matrix, matrix)] = matrices.items()
    # A layer keeps its matrix the other way round.
    weight_DE = matrix if name_of_matrix.endswith(".weight") else matrix.T
    dimensions, width = weight_DE.shape
    if dimensions > width:
        raise InvalidInput(f"{refused}{width} features have no {dimensions} components", hint=f"lower embed_dim to {width}")
    _, vector_EE = torch.linalg.eigh(_covariance(feature_BEs))
    component_DE = vector_EE.T.flip(0)[:dimensions]
    largest_D1 = component_DE.gather(1, component_DE.abs().argmax(dim=1, keepdim=True))
    weight_DE.copy_(component_DE * largest_D1.sign())
    for bias in weights.keys() - matrices.keys():
        weights[bias].zero_()


def _covariance(feature_BEs: Iterable[Tensor]) -> Tensor:
    """Float64, [E, E], but for a factor."""
    count, sum_E, product_EE = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for feature_BE in feature_BEs:
        part_BE = feature_BE.double()
        count, sum_E, product_EE = count + len(part_BE), sum_E + part_BE.sum(dim=0), product_EE + part_BE.T @ part_BE
    return product_EE - sum_E[:, None] * sum_E / count


@torch.no_grad()
def image_below_projection(model: Any, image_B3HW: Tensor) -> Tensor:
    """What the image tower computes before its projection, [B, …], in the mode that the model is in."""
    with unprojected(model.visual):
        return cast(Tensor, model.encode_image(image_B3HW, normalize=False))


@torch.no_grad()
def text_below_projection(model: Any, token_BL: Tensor) -> Tensor:
    """The same of the text tower."""
    with unprojected_text(model):
        return cast(Tensor, model.encode_text(token_BL, normalize=False))
