"""The part of open_clip's transforms that draws and resizes: images to uint8, in the size of the model's input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image


class Geometry:
    """From an image in RGB or L to uint8, [3, H, W]."""

    def __init__(self, preprocess: PreprocessCfg, *, is_train: bool) -> None:
        """`is_train`: a random crop, by torch's random state."""
        # The last two make floats of it and normalise them, which is faster for a batch at once.
        self._transforms: list[Any] = image_transform_v2(preprocess, is_train=is_train).transforms[:-2]

    def __call__(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """An image in the size of the model's input."""
        for transform in self._transforms:
            image = transform(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
