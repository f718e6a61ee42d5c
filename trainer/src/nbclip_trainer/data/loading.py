"""A dataset with its images, and what a first look at them found."""

from __future__ import annotations

from dataclasses import dataclass

from open_clip.transform import PreprocessCfg

from nbclip_trainer.data.checking import Findings, check_images
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.geometry import Geometry
from nbclip_trainer.data.images import Images, Stored, StoredImages
from nbclip_trainer.data.settings import AugmentationSettings, DataSettings
from nbclip_trainer.data.stored import InFiles, in_cache, in_memory, least_side


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
    """Looks at every image once: to keep it (`data.pictures`), or to know that it can be decoded (`data.check`).

    Args:
        dataset: whose images.
        preprocess: the model's input.
        settings: where images are kept.
        augmentation: of training images.
        seed: of all random draws.
    """
    stored, found = _stored(dataset, preprocess, settings)
    images = StoredImages(stored, preprocess, settings.resize, augmentation, seed, settings.workers)
    return LoadedImages(images, found.bad, found.frames)


def _stored(dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings) -> tuple[Stored, Findings]:
    if settings.pictures == "memory":
        return in_memory(dataset, preprocess, settings)
    if settings.pictures == "cache" and settings.cache is not None:
        return in_cache(dataset, preprocess, settings, settings.cache)
    geometry = Geometry(preprocess, settings.resize, is_train=False)
    return InFiles(dataset, geometry, settings.max_pixels, least_side(preprocess, settings)), check_images(dataset, settings)
