"""A dataset with its images, without the rows whose images can't be decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from nbclip.errors import InvalidInput
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor

from nbclip_trainer.data.checking import check_of, each_once, reasons
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.data.images import Images, ImagesInMemory, ImagesOnDisk
from nbclip_trainer.data.settings import AugmentationSettings, DataSettings
from nbclip_trainer.errors import BadImage


@dataclass(frozen=True, slots=True)
class LoadedImages:
    """A dataset without the rows whose images can't be decoded.

    Attributes:
        dataset: the rows left.
        images: theirs, in the same order.
        bad: `file:line: reason` of each row left out.
    """

    dataset: Dataset
    images: Images
    bad: list[str]


def load_images(
    dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings, augmentation: AugmentationSettings, seed: int
) -> LoadedImages:
    """Looks at every image once: to keep it (`data.pictures=memory`), or to know that it can be decoded (`data.check`).

    Args:
        dataset: whose images.
        preprocess: the model's input.
        settings: where images are kept, and how many may be bad.
        augmentation: of training images.
        seed: of all random draws.

    Raises:
        InvalidInput: more than `data.max_bad_share` of them can't be decoded.
    """
    in_memory = settings.pictures == "memory"
    look: Callable[[Path], Tensor | None] = _pixels_of(preprocess, settings.max_pixels) if in_memory else check_of(settings)
    results = list(each_once(dataset.files, look, settings.workers))
    bad = reasons(dataset, results)
    if len(bad) > settings.max_bad_share * len(results):
        raise InvalidInput(
            f"{len(bad)} of {len(results)} images can't be decoded, first: {bad[0]}",
            hint="`nbclip validate` finds them; data.max_bad_share is the limit",
        )
    kept = dataset.take([row for row, result in enumerate(results) if not isinstance(result, BadImage)])
    if in_memory:
        pixels = torch.stack([result for result in results if isinstance(result, Tensor)])
        return LoadedImages(kept, ImagesInMemory(pixels, preprocess, augmentation, seed), bad)
    on_disk = ImagesOnDisk(kept.files, preprocess, augmentation, seed, settings.workers, settings.max_pixels)
    return LoadedImages(kept, on_disk, bad)


def _pixels_of(preprocess: PreprocessCfg, max_pixels: int) -> Callable[[Path], Tensor]:
    """To uint8, [3, H, W], in the geometry of the model's input."""
    geometry = image_transform_v2(replace(preprocess, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), is_train=False)
    return lambda path: (geometry(open_image(path, max_pixels)) * 255).round().to(torch.uint8)
