"""Random scale, shift, rotation, gamma and contrast of a batch of images at once.

Shape legend: B images, H and W their sides.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from nbclip_trainer.data.settings import AugmentationSettings


def draws(count: int, seed: int) -> Tensor:
    """What `augment` takes for some images, by a seed: uniform in [0, 1), [6, count]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.rand(count, generator=generator) for _ in range(6)])


@lru_cache(maxsize=2)
def drawn_views(count: int, views: int, seed: int, epoch: int) -> npt.NDArray[np.uint8]:
    """Which view of each image an epoch takes, uniform over 0, the image itself, and 1 … `views`: uint8, [count]."""
    return np.random.default_rng((seed, epoch, views)).integers(views + 1, size=count, dtype=np.uint8)


def augment(pixels_B3HW: Tensor, settings: AugmentationSettings, drawn_6B: Tensor) -> Tensor:
    """Changes each image as was drawn for it; what comes in from outside the image is black.

    Args:
        pixels_B3HW: float32 in [0, 1].
        settings: the ranges that `drawn_6B` is spread over, uniformly (scale and gamma on a log scale).
        drawn_6B: of `draws`.

    Returns:
        float32 in [0, 1], [B, 3, H, W].
    """
    theta_B23 = _affine(drawn_6B[:4], settings)
    gamma_B, contrast_B = _log_uniform(drawn_6B[4], settings.gamma), _uniform(drawn_6B[5], *settings.contrast)
    grid_BHW2 = functional.affine_grid(theta_B23, list(pixels_B3HW.shape), align_corners=False)
    moved_B3HW = functional.grid_sample(pixels_B3HW, grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)
    bent_B3HW = moved_B3HW.clamp(0, 1) ** gamma_B[:, None, None, None]
    mean_B111 = bent_B3HW.mean(dim=(1, 2, 3), keepdim=True)
    return ((bent_B3HW - mean_B111) * contrast_B[:, None, None, None] + mean_B111).clamp(0, 1)


def _affine(drawn_4B: Tensor, settings: AugmentationSettings) -> Tensor:
    """Output to input coordinates in [-1, 1], as `affine_grid` takes them, [B, 2, 3]."""
    zoom_B = 1 / _log_uniform(drawn_4B[0], settings.scale)
    angle_B = _uniform(drawn_4B[1], -settings.degrees, settings.degrees) * (math.pi / 180)
    # A share of the side is twice that in coordinates from -1 to 1.
    shift_2B = 2 * _uniform(drawn_4B[2:], -settings.shift, settings.shift)
    cos_B, sin_B = zoom_B * angle_B.cos(), zoom_B * angle_B.sin()
    return torch.stack([cos_B, -sin_B, shift_2B[0], sin_B, cos_B, shift_2B[1]], dim=1).view(-1, 2, 3)


def _uniform(drawn_B: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * drawn_B


def _log_uniform(drawn_B: Tensor, bounds: tuple[float, float]) -> Tensor:
    return _uniform(drawn_B, math.log(bounds[0]), math.log(bounds[1])).exp()
