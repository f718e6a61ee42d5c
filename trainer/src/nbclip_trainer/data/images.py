"""A dataset's images as tensors: in memory, or decoded from disk at each use.

Shape legend: N images of the dataset, B of a batch, H and W their sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from nbclip_trainer.data.augmentation import augment
from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.data.seeds import mixed
from nbclip_trainer.data.settings import AugmentationSettings


class Images(Protocol):
    """A dataset's images by row."""

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """The planned batches in their order, augmented: float32, [B, 3, H, W].

        Equal plans and seeds give equal tensors; the share of a batch gives the share of its tensor.
        """
        ...

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """Batches of rows as they are: float32, [B, 3, H, W], normalised."""
        ...


@dataclass(frozen=True, slots=True)
class ImagesInMemory:
    """Decoded once, uint8, [N, 3, H, W]; augmented in whole batches."""

    pixels: Tensor
    preprocess: PreprocessCfg
    augmentation: AugmentationSettings
    seed: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """See `Images`."""
        for batch in plan:
            pixels_B3HW = self.pixels[torch.from_numpy(batch.rows)].float() / 255
            if self.augmentation.kind == "affine":
                generator = torch.Generator().manual_seed(mixed(self.seed, batch.step))
                pixels_B3HW = augment(
                    pixels_B3HW, self.augmentation, generator, offset=batch.offset, global_size=batch.global_size
                )
            yield self._normalised(pixels_B3HW)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """See `Images`."""
        for rows in batches:
            yield self._normalised(self.pixels[list(rows)].float() / 255)

    def _normalised(self, pixels_B3HW: Tensor) -> Tensor:
        mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (self.preprocess.mean, self.preprocess.std))
        return (pixels_B3HW - mean_311) / std_311


@dataclass(frozen=True, slots=True)
class ImagesOnDisk:
    """Decoded at each use by open_clip's transforms, in worker processes."""

    files: list[Path]
    preprocess: PreprocessCfg
    augmentation: AugmentationSettings
    seed: int
    workers: int
    max_pixels: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Tensor]:
        """See `Images`; random draws depend on seed, step and row alone, so the number of workers does not matter."""
        transform = image_transform_v2(self.preprocess, is_train=self.augmentation.kind == "open_clip")
        keys = ([(int(row), mixed(self.seed, batch.step, int(row))) for row in batch.rows] for batch in plan)
        return self._decoded(transform, keys)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        """See `Images`."""
        transform = image_transform_v2(self.preprocess, is_train=False)
        return self._decoded(transform, ([(row, 0) for row in rows] for rows in batches))

    def _decoded(self, transform: Callable[[Image.Image], Tensor], keys: Iterable[list[tuple[int, int]]]) -> Iterator[Tensor]:
        decoded = _Decoded(self.files, transform, self.max_pixels)
        # A generator of its own: the loader draws a seed, and the run's random state is not its business.
        own = torch.Generator()
        pinned = torch.cuda.is_available()
        return iter(
            DataLoader(decoded, batch_sampler=keys, num_workers=min(self.workers, _cpus()), generator=own, pin_memory=pinned)
        )


class _Decoded(torch.utils.data.Dataset[Tensor]):
    """Images by (row, seed of the random draws), as torch's loader asks for them."""

    def __init__(self, files: list[Path], transform: Callable[[Image.Image], Tensor], max_pixels: int) -> None:
        self._files, self._transform, self._max_pixels = files, transform, max_pixels

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        row, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._transform(open_image(self._files[row], self._max_pixels))


def _cpus() -> int:
    """Processors that this process may use; more decoding processes than that only wait."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
