"""A dataset's images as tensors: in memory, or decoded from disk at each use.

Shape legend: N images of the dataset, B of a batch, H and W their sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

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
from nbclip_trainer.errors import BadImage


class Decoded(NamedTuple):
    """The images of a batch, as far as they can be decoded.

    Attributes:
        rows: of the dataset, in the batch's order, without the bad ones.
        pixels: their images, float32, [len(rows), 3, H, W], normalised.
        bad: why an image can't be decoded, by its row.
    """

    rows: list[int]
    pixels: Tensor
    bad: dict[int, str]


class Images(Protocol):
    """A dataset's images by row."""

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """The planned batches in their order, augmented.

        Equal plans and seeds give equal tensors; the share of a batch gives the share of its tensor.
        """
        ...

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """Batches of rows as they are."""
        ...

    def at_once(self) -> Images:
        """The same images, decoded in this process when they are asked for, and no batch ahead."""
        ...


def completed(rows: Sequence[int], decoded: Decoded, decode: Callable[[list[int]], Decoded]) -> Decoded:
    """The images of a batch whose rows are others than those that were decoded for it; `decode` is asked for what is lacking."""
    if list(rows) == decoded.rows:
        return decoded._replace(bad={})
    held, bad = dict(zip(decoded.rows, decoded.pixels, strict=True)), dict(decoded.bad)
    if lacking := [row for row in rows if row not in held and row not in bad]:
        more = decode(lacking)
        held.update(zip(more.rows, more.pixels, strict=True))
        bad.update(more.bad)
    good = [row for row in rows if row in held]
    return Decoded(good, _stacked([held[row] for row in good]), {row: bad[row] for row in rows if row in bad})


@dataclass(frozen=True, slots=True)
class ImagesInMemory:
    """Decoded once, uint8, [N, 3, H, W]; augmented in whole batches."""

    pixels: Tensor
    preprocess: PreprocessCfg
    augmentation: AugmentationSettings
    seed: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`."""
        for batch in plan:
            pixels_B3HW = self.pixels[torch.from_numpy(batch.rows)].float() / 255
            if self.augmentation.kind == "affine":
                generator = torch.Generator().manual_seed(mixed(self.seed, batch.step))
                pixels_B3HW = augment(
                    pixels_B3HW, self.augmentation, generator, offset=batch.offset, global_size=batch.global_size
                )
            yield Decoded(batch.rows.tolist(), self._normalised(pixels_B3HW), {})

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        for rows in batches:
            yield Decoded(list(rows), self._normalised(self.pixels[list(rows)].float() / 255), {})

    def at_once(self) -> ImagesInMemory:
        """See `Images`."""
        return self

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

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`; random draws depend on seed, step and row alone, so the number of workers does not matter."""
        transform = image_transform_v2(self.preprocess, is_train=self.augmentation.kind == "open_clip")
        keys = ([(int(row), mixed(self.seed, batch.step, int(row))) for row in batch.rows] for batch in plan)
        return self._decoded(transform, keys)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        transform = image_transform_v2(self.preprocess, is_train=False)
        return self._decoded(transform, ([(row, 0) for row in rows] for rows in batches))

    def at_once(self) -> ImagesOnDisk:
        """See `Images`."""
        return replace(self, workers=0)

    def _decoded(self, transform: Callable[[Image.Image], Tensor], keys: Iterable[list[tuple[int, int]]]) -> Iterator[Decoded]:
        decoded = _Images(self.files, transform, self.max_pixels)
        # A generator of its own: the loader draws a seed, and the run's random state is not its business.
        own = torch.Generator()
        pinned = torch.cuda.is_available()
        workers = min(self.workers, _cpus())
        return iter(
            DataLoader(decoded, batch_sampler=keys, num_workers=workers, collate_fn=_collated, generator=own, pin_memory=pinned)
        )


class _Images(torch.utils.data.Dataset[tuple[int, Tensor | str]]):
    """Images by (row, seed of the random draws), as torch's loader asks for them: pixels, or why there are none."""

    def __init__(self, files: list[Path], transform: Callable[[Image.Image], Tensor], max_pixels: int) -> None:
        self._files, self._transform, self._max_pixels = files, transform, max_pixels

    def __getitem__(self, key: tuple[int, int]) -> tuple[int, Tensor | str]:
        row, seed = key
        try:
            image = open_image(self._files[row], self._max_pixels)
        except BadImage as error:
            return row, error.message
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return row, self._transform(image)


def _collated(found: list[tuple[int, Tensor | str]]) -> Decoded:
    good = [(row, pixels) for row, pixels in found if isinstance(pixels, Tensor)]
    bad = {row: reason for row, reason in found if isinstance(reason, str)}
    return Decoded([row for row, _ in good], _stacked([pixels for _, pixels in good]), bad)


def _stacked(pixels: list[Tensor]) -> Tensor:
    """Images as a batch, which may be empty."""
    return torch.stack(pixels) if pixels else torch.empty(0, 3, 0, 0)


def _cpus() -> int:
    """Processors that this process may use; more decoding processes than that only wait."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
