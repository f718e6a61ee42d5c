"""A dataset's images as batches of tensors: decoded from disk at each use, or kept as the model takes them.

Shape legend: N images of the dataset, B of a batch, H and W their sides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from nbclip.errors import NBClipError
from open_clip.transform import PreprocessCfg
from torch import Tensor
from torch.utils.data import DataLoader

from nbclip_trainer.data.augmentation import augment, drawn_views, draws
from nbclip_trainer.data.geometry import Geometry, Pixels
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.data.seeds import mixed
from nbclip_trainer.data.settings import AugmentationSettings, Resize
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

    def view(self, number: int, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """Batches of rows in one of the views of `augmentation.views`; 0: as they are."""
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

    def __len__(self) -> int:
        """How many images."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether images are kept as the model takes them, so that there is nothing to decode."""
        ...

    def fetched(self, rows: Sequence[int]) -> AbstractContextManager[None]:
        """Images of these rows, which the block takes, are got ready together as far as that is faster."""
        ...

    def ready(self, row: int) -> Pixels:
        """An image as the model takes it, [3, H, W]; raises BadImage."""
        ...

    def cropped(self, row: int, crop: Geometry) -> Pixels:
        """An image as it lies there, cropped and resized, [3, H, W]; raises BadImage."""
        ...


@dataclass(frozen=True, slots=True)
class StoredImages:
    """See `Images`; random draws do not depend on the number of workers."""

    stored: Stored
    preprocess: PreprocessCfg
    resize: Resize
    augmentation: AugmentationSettings
    seed: int
    workers: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`."""
        return self._decoded(plan, self._changed(_Decoder(self)))

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        return self.view(0, batches)

    def view(self, number: int, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        plan = (PlannedBatch(0, 0, np.asarray(rows, np.int64)) for rows in batches)
        decoder = _Decoder(self, view=number)
        return self._decoded(plan, self._changed(decoder) if number else decoder)

    def at_once(self) -> StoredImages:
        """See `Images`."""
        return replace(self, workers=0)

    def _changed(self, decoder: _Decoder) -> _Decoder:
        kind = self.augmentation.kind
        crop = Geometry(self.preprocess, self.resize, is_train=True) if kind == "open_clip" else None
        return replace(decoder, crop=crop, moved=kind == "affine")

    def _decoded(self, plan: Iterable[PlannedBatch], decoder: _Decoder) -> Iterator[Decoded]:
        # A generator of its own: the loader draws a seed, and the run's random state is not its business.
        own = torch.Generator()
        pinned = torch.cuda.is_available()
        workers = 0 if self.stored.is_ready and decoder.crop is None else min(self.workers, _cpus())
        loader = DataLoader(
            decoder, sampler=plan, batch_size=None, num_workers=workers, collate_fn=_same, generator=own, pin_memory=pinned
        )
        return map(_raised, iter(loader))


@dataclass(frozen=True, slots=True)
class _Decoder(torch.utils.data.Dataset[Decoded | NBClipError]):
    """Batches, as torch's loader asks for them; images are made floats together, which is faster than one by one.

    Of an error that ends a run torch would make a traceback in a line, so it comes in the place of the batch.

    `view` is the one that is wanted, None where each epoch draws them.
    """

    images: StoredImages
    crop: Geometry | None = None
    moved: bool = False
    view: int | None = None

    def __getitem__(self, batch: PlannedBatch) -> Decoded | NBClipError:
        try:
            return self._batch(batch)
        except NBClipError as error:
            return error

    def _batch(self, batch: PlannedBatch) -> Decoded:
        found: dict[int, Pixels] = {}
        bad: dict[int, str] = {}
        rows = batch.rows.tolist()
        with torch.random.fork_rng(devices=[]), self.images.stored.fetched(rows):
            for row in rows:
                try:
                    found[row] = self._one(row, batch)
                except BadImage as error:
                    bad[row] = error.message
        if not found:
            return Decoded([], torch.empty(0, 3, 0, 0), bad)
        pixels_B3HW = torch.from_numpy(np.stack(list(found.values()))).float().div_(255)
        if self.moved:
            pixels_B3HW = self._moved(pixels_B3HW, batch, list(found))
        return Decoded(list(found), self._normalised(pixels_B3HW), bad)

    def _one(self, row: int, batch: PlannedBatch) -> Pixels:
        seed = None if self.crop is None else self._seed(row, batch)
        if self.crop is None or seed is None:
            return self.images.stored.ready(row)
        torch.default_generator.manual_seed(seed)
        return self.images.stored.cropped(row, self.crop)

    def _moved(self, pixels_B3HW: Tensor, batch: PlannedBatch, rows: list[int]) -> Tensor:
        images = self.images
        if images.stored.is_ready and images.augmentation.views is None:
            # None of the images can turn out to be bad, so those of the whole batch are drawn at once.
            size = len(rows) if batch.global_size is None else batch.global_size
            drawn_6N = draws(size, mixed(images.seed, batch.step))
            return augment(pixels_B3HW, images.augmentation, drawn_6N[:, batch.offset : batch.offset + len(rows)])
        seeds = {place: seed for place, row in enumerate(rows) if (seed := self._seed(row, batch)) is not None}
        if seeds:
            drawn_6B, places = torch.cat([draws(1, seed) for seed in seeds.values()], dim=1), list(seeds)
            pixels_B3HW[places] = augment(pixels_B3HW[places], images.augmentation, drawn_6B)
        return pixels_B3HW

    def _seed(self, row: int, batch: PlannedBatch) -> int | None:
        """Of an image's random changes; None where it stays as it is."""
        images, view = self.images, self.view
        views = images.augmentation.views
        if views is None:
            return mixed(images.seed, batch.step, row)
        if view is None:
            view = int(drawn_views(len(images.stored), views, images.seed, batch.epoch)[row])
        # Not by the run's seed, so that runs of all seeds have the same views.
        return mixed(view, row) if view else None

    def _normalised(self, pixels_B3HW: Tensor) -> Tensor:
        preprocess = self.images.preprocess
        mean_311, std_311 = (torch.tensor(values)[:, None, None] for values in (preprocess.mean, preprocess.std))
        return pixels_B3HW.sub_(mean_311).div_(std_311)


def _raised(decoded: Decoded | NBClipError) -> Decoded:
    if isinstance(decoded, NBClipError):
        raise decoded
    return decoded


def _same(decoded: Any) -> Any:
    return decoded


def _stacked(pixels: list[Tensor]) -> Tensor:
    """Images as a batch, which may be empty."""
    return torch.stack(pixels) if pixels else torch.empty(0, 3, 0, 0)


def _cpus() -> int:
    """Processors that this process may use; more decoding processes than that only wait."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
