"""Greys of more than 8 bits to what a screen shows.

Shape legend: H and W are an image's sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def shown(grey_HW: npt.NDArray[Any], low: float, high: float, *, inverted: bool = False) -> Image.Image:
    """An image in L: `low` and what is below it black, `high` and above white, or where `inverted` the other way round."""
    span = high - low
    scaled_HW = (np.asarray(grey_HW, np.float32) - low) * (255 / span if span else 0)
    bytes_HW = scaled_HW.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - bytes_HW if inverted else bytes_HW)
