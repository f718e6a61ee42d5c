"""Locked towers as two functions: what they compute, once, and the projections that train on it.

Shape legend: B pairs of a batch.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from nbclip_trainer.models.projections import unprojected, unprojected_text


class Heads(nn.Module):
    """A model above its towers: takes what they compute where the model takes images and tokens, and gives what it gives.

    It has the model's own parameters, so that what trains here trains there.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model
        with unprojected(model.visual) as image, unprojected_text(model) as text:
            # A tuple, so that no part of the model is registered twice.
            self._projections = image, text

    def forward(self, image: Tensor, text: Tensor) -> dict[str, Tensor]:
        """As open_clip's models with `output_dict`, of features before the projections."""
        image, text = (
            features if project is None else project(features)
            for project, features in zip(self._projections, (image, text), strict=True)
        )
        bias = {} if self.model.logit_bias is None else {"logit_bias": self.model.logit_bias}
        return {
            "image_features": normalize(image, dim=-1),
            "text_features": normalize(text, dim=-1),
            "logit_scale": self.model.logit_scale.exp(),
            **bias,
        }


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
