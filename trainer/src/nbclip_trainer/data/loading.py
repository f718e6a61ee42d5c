"""A dataset with its images, and what a first look at them found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor

from nbclip_trainer.data.checking import check_images, look_over
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import Picture
from nbclip_trainer.data.images import Images, ImagesInMemory, ImagesOnDisk
from nbclip_trainer.data.settings import AugmentationSettings, DataSettings


@dataclass(frozen=True, slots=True)
class LoadedImages:
    """Images of a dataset, by its rows.

    Attributes:
        images: of all rows; those of bad ones are not asked for.
        bad: why an image can't be decoded, by its row.
        frames: how many images a file holds, by its row, where there are several.
    """

    images: Images
    bad: dict[int, str]
    frames: dict[int, int]


def load_images(
    dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings, augmentation: AugmentationSettings, seed: int
) -> LoadedImages:
    """Looks at every image once: to keep it (`data.pictures=memory`), or to know that it can be decoded (`data.check`).

    Args:
        dataset: whose images.
        preprocess: the model's input.
        settings: where images are kept.
        augmentation: of training images.
        seed: of all random draws.
    """
    if settings.pictures == "memory":
        kept = look_over(dataset, _pixels_of(preprocess), settings)
        blank = torch.zeros(preprocess.input_size, dtype=torch.uint8)
        pixels = torch.stack([blank if made is None else made for made in kept.made])
        return LoadedImages(ImagesInMemory(pixels, preprocess, augmentation, seed), kept.bad, kept.frames)
    found = check_images(dataset, settings)
    on_disk = ImagesOnDisk(dataset.files, preprocess, augmentation, seed, settings.workers, settings.max_pixels)
    return LoadedImages(on_disk, found.bad, found.frames)


def _pixels_of(preprocess: PreprocessCfg) -> Callable[[Picture], Tensor]:
    """To uint8, [3, H, W], in the geometry of the model's input."""
    geometry = image_transform_v2(replace(preprocess, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), is_train=False)
    return lambda picture: (geometry(picture.rgb()) * 255).round().to(torch.uint8)
