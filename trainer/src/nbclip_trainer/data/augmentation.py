"""Random scale, shift, rotation, gamma and contrast of a batch of images at once.

Shape legend: B images, H and W their sides.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from nbclip_trainer.data.settings import AugmentationSettings


def augment(
    pixels_B3HW: Tensor,
    settings: AugmentationSettings,
    generator: torch.Generator,
    *,
    offset: int = 0,
    global_size: int | None = None,
) -> Tensor:
    """Draws one change per image and applies it; what comes in from outside the image is black.

    Args:
        pixels_B3HW: float32 in [0, 1].
        settings: ranges to draw from, uniformly (scale and gamma on a log scale).
        generator: decides all draws, so that a step can be repeated.
        offset: place of the first of these images in the global batch.
        global_size: images in the global batch, for all of which is drawn; None: B.

    Returns:
        float32 in [0, 1], [B, 3, H, W].
    """
    count = len(pixels_B3HW) if global_size is None else global_size
    drawn = (
        _affine(count, settings, generator),
        _log_uniform(count, settings.gamma, generator),
        _uniform(count, *settings.contrast, generator),
    )
    theta_B23, gamma_B, contrast_B = (values[offset : offset + len(pixels_B3HW)].to(pixels_B3HW.device) for values in drawn)
    grid_BHW2 = functional.affine_grid(theta_B23, list(pixels_B3HW.shape), align_corners=False)
    moved_B3HW = functional.grid_sample(pixels_B3HW, grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)
    bent_B3HW = moved_B3HW.clamp(0, 1) ** gamma_B[:, None, None, None]
    mean_B111 = bent_B3HW.mean(dim=(1, 2, 3), keepdim=True)
    return ((bent_B3HW - mean_B111) * contrast_B[:, None, None, None] + mean_B111).clamp(0, 1)


def _affine(count: int, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Output to input coordinates in [-1, 1], as `affine_grid` takes them, [B, 2, 3]."""
    zoom_B = 1 / _log_uniform(count, settings.scale, generator)
    angle_B = _uniform(count, -settings.degrees, settings.degrees, generator) * (math.pi / 180)
    # A share of the side is twice that in coordinates from -1 to 1.
    shift_2B = torch.stack([2 * _uniform(count, -settings.shift, settings.shift, generator) for _ in range(2)])
    cos_B, sin_B = zoom_B * angle_B.cos(), zoom_B * angle_B.sin()
    return torch.stack([cos_B, -sin_B, shift_2B[0], sin_B, cos_B, shift_2B[1]], dim=1).view(count, 2, 3)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _log_uniform(count: int, bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    return _uniform(count, math.log(bounds[0]), math.log(bounds[1]), generator).exp()
