"""The part of open_clip's transforms that draws and resizes: images to uint8, in the size of the model's input.

Shape legend: H and W are an image's sides.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from open_clip.transform import PreprocessCfg, ResizeKeepRatio, image_transform_v2
from PIL import Image
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.v2 import functional

from nbclip_trainer.data.decoding import Picture
from nbclip_trainer.data.settings import Resize

Pixels = npt.NDArray[np.uint8]


class Geometry:
    """From an image to uint8, [3, H, W] in the size of the model's input.

    Both ways to resize make the same draws. torch's kernel for bytes is Pillow's algorithm with coefficients of 16 bits: where
    both sides grow, or both shrink, grey levels differ by one at most, and by 0.003 on average.
    """

    def __init__(self, preprocess: PreprocessCfg, resize: Resize, *, is_train: bool) -> None:
        """`is_train`: a random crop, by torch's random state."""
        # The last two make floats of it and normalise them, which is faster for a batch at once.
        self._transforms: list[Any] = image_transform_v2(preprocess, is_train=is_train).transforms[:-2]
        self._resize = resize

    def of_picture(self, picture: Picture, least: int | None) -> Pixels:
        """An image file, decoded with this `least` of `Picture.shown`."""
        if self._resize == "torch":
            return self._by_torch(picture.pixels(least))
        return self._by_pillow(picture.shown(least))

    def of_pixels(self, pixels_HW3: Pixels) -> Pixels:
        """An image in RGB, writable."""
        return self._by_torch(pixels_HW3) if self._resize == "torch" else self._by_pillow(Image.fromarray(pixels_HW3))

    def _by_torch(self, pixels_HW3: Pixels) -> Pixels:
        image_3HW = torch.from_numpy(pixels_HW3).permute(2, 0, 1)
        for transform in self._transforms:
            image_3HW = _on_bytes(transform, image_3HW)
        return image_3HW.contiguous().numpy()

    def _by_pillow(self, image: Image.Image) -> Pixels:
        """Greys in L are made RGB once they are small."""
        for transform in self._transforms:
            image = transform(image)
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def _on_bytes(transform: Any, image_3HW: Tensor) -> Tensor:
    """A transform of open_clip's, whose own way with tensors is to resize them as floats."""
    changed: Tensor
    match transform:
        case transforms.RandomResizedCrop(size=size, interpolation=interpolation):
            crop = transform.get_params(image_3HW, transform.scale, transform.ratio)
            changed = functional.resized_crop(image_3HW, *crop, size, interpolation)
        case transforms.Resize(size=size, interpolation=interpolation):
            changed = functional.resize(image_3HW, size, interpolation)
        case ResizeKeepRatio(size=size, interpolation=interpolation, longest=longest):
            # It asks for the size as Pillow has it.
            shape = ResizeKeepRatio.get_params(SimpleNamespace(size=image_3HW.shape[:0:-1]), size, longest)
            changed = functional.resize(image_3HW, shape, interpolation)
        case _:
            changed = transform(image_3HW)
    return changed
