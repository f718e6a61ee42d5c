"""Pictures of a dataset as tensors: decoded once into memory, or from disk at each use.

Shape legend: N pictures of the dataset, B of a batch, H and W their sides.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from nbclip.errors import InvalidInput
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from nbclip_trainer.config import Augmentation, DataSettings, TrainConfig
from nbclip_trainer.data.augmentation import augment
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.data.shards import open_picture_file
from nbclip_trainer.errors import BadPicture
from nbclip_trainer.seeds import mixed

# `max_pixels` decides, before anything is decoded; Pillow's own limit would refuse what a user has allowed.
Image.MAX_IMAGE_PIXELS = None
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises on damaged files."""
_WINDOW = 4_096
"""Pictures that are looked at ahead of the one whose turn it is."""


class Pictures(Protocol):
    """A dataset's pictures by row."""

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """The planned batches in their order, augmented: float32, [B, 3, H, W].

        Equal plans and seeds give equal tensors; the share of a batch gives the share of its tensor.
        """
        ...

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """Batches of rows as they are: float32, [B, 3, H, W], normalised."""
        ...


@dataclass(frozen=True, slots=True)
class LoadedPictures:
    """A dataset without the rows whose pictures can't be decoded.

    Attributes:
        dataset: the rows left.
        pictures: theirs, in the same order.
        bad: `file:line: reason` of each row left out.
    """

    dataset: Dataset
    pictures: Pictures
    bad: list[str]


def load_pictures(dataset: Dataset, picture: PreprocessCfg, config: TrainConfig) -> LoadedPictures:
    """Looks at every picture once: to keep it (`data.pictures=memory`), or to know that it can be decoded (`data.check`).

    Raises:
        InvalidInput: more than `data.max_bad_share` of them can't be decoded.
    """
    settings = config.data
    in_memory = settings.pictures == "memory"
    look = _pixels_of(picture, settings.max_pixels) if in_memory else _check_of(settings)
    results = list(_each_once(dataset.files, look, settings))
    rows = [row for row, result in enumerate(results) if not isinstance(result, BadPicture)]
    bad = [f"{dataset.place(row)}: {result.message}" for row, result in enumerate(results) if isinstance(result, BadPicture)]
    if len(bad) > settings.max_bad_share * len(results):
        raise InvalidInput(
            f"{len(bad)} of {len(results)} pictures can't be decoded, first: {bad[0]}",
            hint="`nbclip validate` finds them; data.max_bad_share is the limit",
        )
    kept = dataset.take(rows)
    if in_memory:
        pixels = torch.stack([result for result in results if not isinstance(result, BadPicture)])
        return LoadedPictures(kept, PicturesInMemory(pixels, picture, config.augmentation, config.seed), bad)
    on_disk = PicturesOnDisk(kept.files, picture, config.augmentation, config.seed, settings.workers, settings.max_pixels)
    return LoadedPictures(kept, on_disk, bad)


def bad_pictures(dataset: Dataset, settings: DataSettings) -> list[str]:
    """`file:line: reason` of each row whose picture can't be decoded."""
    results = _each_once(dataset.files, _check_of(settings), settings)
    return [f"{dataset.place(row)}: {result.message}" for row, result in enumerate(results) if isinstance(result, BadPicture)]


def open_picture(path: Path, max_pixels: int = DataSettings().max_pixels) -> Image.Image:
    """Decodes a picture to RGB.

    Greys of more than 8 bits are scaled to their own range: Pillow's conversion would cut them off at 255.

    Raises:
        BadPicture: the file is missing, no picture, cut off, or of more than `max_pixels` (not decoded then).
    """
    with _opened(path, max_pixels) as picture:
        return _rgb(picture)


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """A picture of which the header alone was read; what its decoder raises in the block is a BadPicture too."""
    try:
        with open_picture_file(path) as file, Image.open(file) as picture:
            if picture.width * picture.height > max_pixels:
                raise BadPicture(f"{path}: {picture.width} x {picture.height} pixels, over the limit of {max_pixels}")
            yield picture
    except _DECODER_ERRORS as error:
        raise BadPicture(f"{path}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error


def _rgb(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith(("I", "F")):
        return picture.convert("RGB")
    grey_HW = np.asarray(picture, np.float32)
    low, high = float(grey_HW.min()), float(grey_HW.max())
    scaled_HW = (grey_HW - low) * (255 / (high - low) if high > low else 0)
    return Image.fromarray(scaled_HW.round().astype(np.uint8)).convert("RGB")


def _each_once(files: Sequence[Path], look: Callable[[Path], Tensor], settings: DataSettings) -> Iterator[Tensor | BadPicture]:
    """What `look` makes of each picture, or why it can't, in order; Pillow decodes outside of Python's lock."""

    def looked(path: Path) -> Tensor | BadPicture:
        try:
            return look(path)
        except BadPicture as error:
            return error

    with ThreadPoolExecutor(max(settings.workers, 1)) as pool:
        for start in range(0, len(files), _WINDOW):
            yield from pool.map(looked, files[start : start + _WINDOW])


def _check_of(settings: DataSettings) -> Callable[[Path], Tensor]:
    """Whether a picture can be decoded, or at least begins as one; what it gives is of no use."""

    def check(path: Path) -> Tensor:
        if settings.check == "headers":
            with _opened(path, settings.max_pixels):
                return torch.empty(0)
        open_picture(path, settings.max_pixels)
        return torch.empty(0)

    return check


def _pixels_of(picture: PreprocessCfg, max_pixels: int) -> Callable[[Path], Tensor]:
    """To uint8, [3, H, W], in the geometry of the model's input."""
    geometry = image_transform_v2(replace(picture, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), is_train=False)
    return lambda path: (geometry(open_picture(path, max_pixels)) * 255).round().to(torch.uint8)


@dataclass(frozen=True, slots=True)
class PicturesInMemory:
    """Decoded once, uint8, [N, 3, H, W]; augmented in whole batches."""

    pixels: Tensor
    picture: PreprocessCfg
    augmentation: Augmentation
    seed: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """See `Pictures`."""
        for batch in plan:
            pixels_B3HW = self.pixels[torch.from_numpy(batch.rows)].float() / 255
            if self.augmentation.kind == "affine":
                generator = torch.Generator().manual_seed(mixed(self.seed, batch.step))
                pixels_B3HW = augment(
                    pixels_B3HW, self.augmentation, generator, offset=batch.offset, global_size=batch.global_size
                )
            yield self._normalised(pixels_B3HW)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """See `Pictures`."""
        for rows in batches:
            yield self._normalised(self.pixels[list(rows)].float() / 255)

    def _normalised(self, pixels_B3HW: Tensor) -> Tensor:
        mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (self.picture.mean, self.picture.std))
        return (pixels_B3HW - mean_311) / std_311


@dataclass(frozen=True, slots=True)
class PicturesOnDisk:
    """Decoded at each use by open_clip's transforms, in worker processes."""

    files: list[Path]
    picture: PreprocessCfg
    augmentation: Augmentation
    seed: int
    workers: int
    max_pixels: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """See `Pictures`; random draws depend on seed, step and row alone, so the number of workers does not matter."""
        transform = image_transform_v2(self.picture, is_train=self.augmentation.kind == "open_clip")
        keys = ([(int(row), mixed(self.seed, batch.step, int(row))) for row in batch.rows] for batch in plan)
        return self._decoded(transform, keys)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """See `Pictures`."""
        return self._decoded(image_transform_v2(self.picture, is_train=False), ([(row, 0) for row in rows] for rows in batches))

    def _decoded(self, transform: Callable[[Image.Image], Tensor], keys: Iterable[list[tuple[int, int]]]) -> Iterator[Tensor]:
        decoded = _Decoded(self.files, transform, self.max_pixels)
        # A generator of its own: the loader draws a seed, and the run's random state is not its business.
        own = torch.Generator()
        pinned = torch.cuda.is_available()
        return iter(
            DataLoader(decoded, batch_sampler=keys, num_workers=min(self.workers, _cpus()), generator=own, pin_memory=pinned)
        )


class _Decoded(torch.utils.data.Dataset[Tensor]):
    """Pictures by (row, seed of the random draws), as torch's loader asks for them."""

    def __init__(self, files: list[Path], transform: Callable[[Image.Image], Tensor], max_pixels: int) -> None:
        self._files, self._transform, self._max_pixels = files, transform, max_pixels

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        row, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._transform(open_picture(self._files[row], self._max_pixels))


def _cpus() -> int:
    """Processors that this process may use; more decoding processes than that only wait."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
