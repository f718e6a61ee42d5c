"""A dataset's images as batches of tensors: decoded from disk at each use, or kept as the model takes them.

Shape legend: N images of the dataset, B of a batch, H and W their sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from open_clip.transform import PreprocessCfg
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from nbclip_trainer.data.augmentation import augment, draws
from nbclip_trainer.data.geometry import Geometry
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


class Stored(Protocol):
    """Where a dataset's images lie, by row; processes that decode are given it."""

    @property
    def is_ready(self) -> bool:
        """Whether images are kept as the model takes them, so that there is nothing to decode."""
        ...

    def image(self, row: int) -> Image.Image:
        """An image as it lies there, in RGB or L; raises BadImage."""
        ...

    def ready(self, row: int) -> npt.NDArray[np.uint8]:
        """An image as the model takes it, [3, H, W]; raises BadImage."""
        ...


@dataclass(frozen=True, slots=True)
class StoredImages:
    """See `Images`; random draws do not depend on the number of workers."""

    stored: Stored
    preprocess: PreprocessCfg
    augmentation: AugmentationSettings
    seed: int
    workers: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`."""
        kind = self.augmentation.kind
        return self._decoded(plan, cropped=kind == "open_clip", moved=kind == "affine")

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        plan = (PlannedBatch(0, 0, np.asarray(rows, np.int64)) for rows in batches)
        return self._decoded(plan, cropped=False, moved=False)

    def at_once(self) -> StoredImages:
        """See `Images`."""
        return replace(self, workers=0)

    def _decoded(self, plan: Iterable[PlannedBatch], *, cropped: bool, moved: bool) -> Iterator[Decoded]:
        decoder = _Decoder(self, Geometry(self.preprocess, is_train=True) if cropped else None, moved)
        # A generator of its own: the loader draws a seed, and the run's random state is not its business.
        own = torch.Generator()
        pinned = torch.cuda.is_available()
        workers = 0 if self.stored.is_ready and not cropped else min(self.workers, _cpus())
        return iter(
            DataLoader(
                decoder, sampler=plan, batch_size=None, num_workers=workers, collate_fn=_same, generator=own, pin_memory=pinned
            )
        )


@dataclass(frozen=True, slots=True)
class _Decoder(torch.utils.data.Dataset[Decoded]):
    """Batches, as torch's loader asks for them; images are made floats together, which is faster than one by one."""

    images: StoredImages
    crop: Geometry | None
    moved: bool

    def __getitem__(self, batch: PlannedBatch) -> Decoded:
        found: dict[int, npt.NDArray[np.uint8]] = {}
        bad: dict[int, str] = {}
        with torch.random.fork_rng(devices=[]):
            for row in batch.rows.tolist():
                try:
                    found[row] = self._one(row, batch.step)
                except BadImage as error:
                    bad[row] = error.message
        if not found:
            return Decoded([], torch.empty(0, 3, 0, 0), bad)
        pixels_B3HW = torch.from_numpy(np.stack(list(found.values()))).float().div_(255)
        if self.moved:
            pixels_B3HW = augment(pixels_B3HW, self.images.augmentation, self._drawn(batch, list(found)))
        return Decoded(list(found), self._normalised(pixels_B3HW), bad)

    def _one(self, row: int, step: int) -> npt.NDArray[np.uint8]:
        if self.crop is None:
            return self.images.stored.ready(row)
        image = self.images.stored.image(row)
        torch.default_generator.manual_seed(mixed(self.images.seed, step, row))
        return self.crop(image)

    def _drawn(self, batch: PlannedBatch, rows: list[int]) -> Tensor:
        """Draws of a whole batch where none of its images can turn out to be bad, else of each row."""
        seed = self.images.seed
        if not self.images.stored.is_ready:
            return torch.cat([draws(1, mixed(seed, batch.step, row)) for row in rows], dim=1)
        size = len(rows) if batch.global_size is None else batch.global_size
        return draws(size, mixed(seed, batch.step))[:, batch.offset : batch.offset + len(rows)]

    def _normalised(self, pixels_B3HW: Tensor) -> Tensor:
        preprocess = self.images.preprocess
        mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
        return pixels_B3HW.sub_(mean_311).div_(std_311)


def _same(decoded: Any) -> Any:
    return decoded


def _stacked(pixels: list[Tensor]) -> Tensor:
    """Images as a batch, which may be empty."""
    return torch.stack(pixels) if pixels else torch.empty(0, 3, 0, 0)


def _cpus() -> int:
    """Processors that this process may use; more decoding processes than that only wait."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
