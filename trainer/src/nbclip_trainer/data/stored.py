"""Where images lie: in files of any kind, in memory, or in a cache of what files give.

Shape legend: N images of the dataset, H and W their sides.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from nbclip.files.addresses import location
from nbclip.files.pictures import fetched
from open_clip.transform import PreprocessCfg

from nbclip_trainer.data.checking import Findings, Looked, findings, look_over
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import Picture, opened
from nbclip_trainer.data.geometry import Geometry, Pixels
from nbclip_trainer.data.identity import identities
from nbclip_trainer.data.mapped import mapped, new_array, write_json
from nbclip_trainer.data.settings import DataSettings

Told = Callable[[float], None]
"""Told what share of the images is decoded, [0, 1]."""
_TOLD_EVERY = 1_000


@dataclass(frozen=True, slots=True)
class InFiles:
    """Images that are decoded at each use."""

    dataset: Dataset
    geometry: Geometry
    max_pixels: int
    least: int | None
    is_ready: ClassVar[bool] = False

    def __len__(self) -> int:
        """See `images.Stored`."""
        return len(self.dataset)

    def fetched(self, rows: Sequence[int]) -> AbstractContextManager[None]:
        """See `images.Stored`."""
        return fetched(map(location, self.dataset.values("file", rows)))

    def ready(self, row: int) -> Pixels:
        """See `images.Stored`."""
        return self.cropped(row, self.geometry)

    def cropped(self, row: int, crop: Geometry) -> Pixels:
        """See `images.Stored`."""
        with opened(self.dataset.file(row), self.max_pixels) as picture:
            return crop.of_picture(picture, self.least)


@dataclass(frozen=True, slots=True)
class Kept:
    """Images that were decoded once, uint8, [N, 3, H, W]."""

    pixels: Pixels
    is_ready: ClassVar[bool] = True

    def __len__(self) -> int:
        """See `images.Stored`."""
        return len(self.pixels)

    def fetched(self, rows: Sequence[int]) -> AbstractContextManager[None]:
        """See `images.Stored`."""
        return nullcontext()

    def __reduce__(self) -> tuple[Callable[..., Kept], tuple[Any, ...]]:
        # A mapped array would travel as a copy of all its file.
        own = self.pixels
        return (_from_file, (own.filename,)) if isinstance(own, np.memmap) else (Kept, (own,))

    def ready(self, row: int) -> Pixels:
        """See `images.Stored`."""
        ready: Pixels = self.pixels[row]
        return ready

    def cropped(self, row: int, crop: Geometry) -> Pixels:
        """See `images.Stored`."""
        return crop.of_pixels(np.array(self.pixels[row].transpose(1, 2, 0), order="C"))


def least_side(preprocess: PreprocessCfg, settings: DataSettings) -> int | None:
    """The `least` of `open_image` with `data.draft`: more than a random crop of nine tenths makes smaller again."""
    return 5 * max(preprocess.input_size[1:]) // 4 if settings.draft else None


def in_memory(dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings) -> tuple[Kept, Findings]:
    """All images, decoded."""
    pixels = np.zeros((len(dataset), *preprocess.input_size), np.uint8)
    return Kept(pixels), _fill(pixels, dataset, preprocess, settings)


def in_cache(
    dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings, folder: Path, told: Told = lambda share: None
) -> tuple[Kept, Findings]:
    """All images from a cache, which the first process that asks for them fills while others wait; `told` what is done of it.

    It is filled anew where an image has changed; images that are gone since are in it still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made_of = [dataset.digest(), asdict(preprocess), settings.max_pixels, settings.draft, settings.resize]
    name = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    path, found = folder / f"{name}.npy", folder / f"{name}.json"
    with _locked(folder / f"{name}.lock"):
        files = dataset.images_digest()
        if not found.is_file() or _have_changed(dataset, files, json.loads(found.read_text(encoding="utf-8"))[0]):
            unfinished = folder / f"{name}.unfinished"
            pixels = new_array(unfinished, (len(dataset), *preprocess.input_size), np.uint8)
            new = _fill(pixels, dataset, preprocess, settings, told)
            pixels.flush()
            unfinished.replace(path)
            write_json(found, [files, list(new.bad.items()), list(new.frames.items())])
    _, bad, frames = json.loads(found.read_text(encoding="utf-8"))
    return Kept(mapped(path)), Findings(dict(bad), dict(frames))


def _have_changed(dataset: Dataset, files: str, before: str) -> bool:
    """Whether images are others than they were; where one is gone, the cache is all there is."""
    return files != before and all(identities(dataset.labels("file")))


def _fill(
    pixels: Pixels, dataset: Dataset, preprocess: PreprocessCfg, settings: DataSettings, told: Told = lambda share: None
) -> Findings:
    """Decodes every image into its place; those of bad ones stay black."""
    geometry, least = Geometry(preprocess, settings.resize, is_train=False), least_side(preprocess, settings)

    def look(picture: Picture) -> Pixels:
        return geometry.of_picture(picture, least)

    return findings(_put(pixels, look_over(dataset.labels("file"), look, settings), told))


def _put(pixels: Pixels, looked: Iterable[Looked[Pixels]], told: Told) -> Iterator[tuple[int, Looked[Pixels]]]:
    for row, one in enumerate(looked):
        if one.made is not None:
            pixels[row] = one.made
        if row % _TOLD_EVERY == 0:
            told(row / len(pixels))
        yield row, one


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _from_file(path: str) -> Kept:
    return Kept(mapped(Path(path)))
