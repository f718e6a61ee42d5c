"""Looks at every image of a dataset once, before a run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from nbclip.files.addresses import Address, location
from nbclip.files.pictures import fetched

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import Picture, opened
from nbclip_trainer.data.indexed import BAD_IMAGES, FRAMES, IndexedDataset, refuse_less_checked
from nbclip_trainer.data.mapped import mapped
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.errors import BadImage

_WINDOW, _WINDOW_ELSEWHERE = 4_096, 256
"""Images that are looked at ahead of the one whose turn it is; fewer at addresses, whose files are in memory meanwhile."""
_NAMED_AT_MOST = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Looked(Generic[T]):
    """What a look at an image found.

    Attributes:
        made: what was made of it, None of a bad one.
        bad: why it can't be decoded; empty if it can.
        frames: how many images its file holds; the first is taken.
    """

    made: T | None
    bad: str = ""
    frames: int = 1


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look at every image of a dataset found.

    Attributes:
        bad: why an image can't be decoded, by its row.
        frames: how many images a file holds, by its row, where there are several; the first is taken.
    """

    bad: dict[int, str]
    frames: dict[int, int]


def check_images(dataset: Dataset, settings: DataSettings) -> Findings:
    """Decodes every image, or with `data.check=headers` reads what begins its file; of an index, what was found then."""
    if isinstance(dataset, IndexedDataset):
        return _known(dataset, settings)
    return findings(enumerate(looked_at(dataset.labels("file"), settings)))


def looked_at(files: Sequence[str], settings: DataSettings) -> Iterator[Looked[None]]:
    """What `data.check` finds of each image, in order."""

    def look(picture: Picture) -> None:
        if settings.check == "decode":
            picture.shown()

    return iter(()) if settings.check == "none" else look_over(files, look, settings)


def findings(looked: Iterable[tuple[int, Looked[T]]]) -> Findings:
    """What was found of images, by their rows."""
    found = Findings({}, {})
    for row, one in looked:
        if one.bad:
            found.bad[row] = one.bad
        elif one.frames > 1:
            found.frames[row] = one.frames
    return found


def look_over(files: Sequence[str], look: Callable[[Picture], T], settings: DataSettings) -> Iterator[Looked[T]]:
    """What `look` makes of each image, in order, in `data.workers` threads; Pillow decodes outside of Python's lock."""

    def looked(file: str) -> Looked[T]:
        try:
            with opened(location(file), settings.max_pixels) as picture:
                return Looked(look(picture), frames=picture.frames())
        except BadImage as error:
            return Looked(None, error.message)

    with ThreadPoolExecutor(max(settings.workers, 1)) as pool:
        size = _WINDOW_ELSEWHERE if files and isinstance(location(files[0]), Address) else _WINDOW
        for start in range(0, len(files), size):
            window = files[start : start + size]
            with fetched(map(location, window)):
                yield from pool.map(looked, window)


def reasons(dataset: Dataset, bad: Mapping[int, str]) -> list[str]:
    """`file:line: reason` of bad images by row."""
    return [f"{dataset.place(row)}: {reason}" for row, reason in bad.items()]


def too_many(dataset: Dataset, bad: Collection[int], settings: DataSettings) -> bool:
    """Whether a run would stop: more of a split, or with `data.train_split=null` of all, are bad than `data.max_bad_share`."""
    if settings.train_split is None:
        return len(bad) > settings.max_bad_share * len(dataset)
    sizes = dataset.splits()
    return any(count > settings.max_bad_share * sizes[split] for split, count in bad_of_splits(dataset, bad).items())


def bad_of_splits(dataset: Dataset, bad: Collection[int]) -> Counter[str | None]:
    """How many of these rows each split has."""
    return Counter(dataset.values("split", sorted(bad)))


def note_on_frames(dataset: Dataset, frames: Mapping[int, int]) -> str:
    """Which files hold several images, in a sentence; empty where none does."""
    if not frames:
        return ""
    named = [f"{dataset.place(row)} ({count})" for row, count in islice(frames.items(), _NAMED_AT_MOST)]
    rest = ", …" if len(frames) > len(named) else ""
    return f"files of several images, of which the first is taken: {len(frames)}, at {', '.join(named)}{rest}"


def _known(dataset: IndexedDataset, settings: DataSettings) -> Findings:
    """What was found when the index was made."""
    refuse_less_checked(dataset.index, settings)
    bad = json.loads((dataset.index.folder / BAD_IMAGES).read_text(encoding="utf-8"))
    frames = dict(mapped(dataset.index.folder / FRAMES).tolist())
    return Findings(_of_dataset(dataset, {int(row): reason for row, reason in bad.items()}), _of_dataset(dataset, frames))


def _of_dataset(dataset: IndexedDataset, found: Mapping[int, T]) -> dict[int, T]:
    """What was found by row of the index, by row of the dataset."""
    in_index = np.fromiter(found, np.int64, len(found))
    own = dataset.own_rows(in_index)
    return dict(zip(own.tolist(), (found[row] for row in dataset.in_index(own).tolist()), strict=True))
