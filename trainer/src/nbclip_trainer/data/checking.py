"""Looks at every image of a dataset once, before a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import polars as pl

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import Picture, opened
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.errors import BadImage

_WINDOW = 4_096
"""Images that are looked at ahead of the one whose turn it is."""
_NAMED_AT_MOST = 5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Findings(Generic[T]):
    """What a look at every image of a dataset found.

    Attributes:
        made: what was made of each image, None of a bad one.
        bad: why an image can't be decoded, by its row.
        frames: how many images a file holds, by its row, where there are several; the first is taken.
    """

    made: list[T | None]
    bad: dict[int, str]
    frames: dict[int, int]


def check_images(dataset: Dataset, settings: DataSettings) -> Findings[None]:
    """Decodes every image, or with `data.check=headers` reads what begins its file."""

    def look(picture: Picture) -> None:
        if settings.check == "decode":
            picture.rgb()

    return look_over(dataset, look, settings)


def look_over(dataset: Dataset, look: Callable[[Picture], T], settings: DataSettings) -> Findings[T]:
    """What `look` makes of each image, in order, in `data.workers` threads; Pillow decodes outside of Python's lock."""
    made: list[T | None] = []
    bad, frames = {}, {}
    for row, found in enumerate(_each_once(dataset.files, look, settings)):
        if isinstance(found, BadImage):
            made.append(None)
            bad[row] = found.message
            continue
        made.append(found[0])
        if found[1] > 1:
            frames[row] = found[1]
    return Findings(made, bad, frames)


def reasons(dataset: Dataset, bad: Mapping[int, str]) -> list[str]:
    """`file:line: reason` of bad images by row."""
    return [f"{dataset.place(row)}: {reason}" for row, reason in bad.items()]


def too_many(dataset: Dataset, bad: Collection[int], settings: DataSettings) -> bool:
    """Whether a run would stop: more of a split, or with `data.train_split=null` of all, are bad than `data.max_bad_share`."""
    splits = pl.Series(dataset.frame["split"] if settings.train_split else [None] * len(dataset), dtype=pl.String)
    rows = pl.DataFrame({"split": splits, "bad": [row in bad for row in range(len(dataset))]})
    over = rows.group_by("split").agg(pl.col("bad").sum() > settings.max_bad_share * pl.len())
    return bool(over["bad"].any())


def note_on_frames(dataset: Dataset, frames: Mapping[int, int]) -> str:
    """Which files hold several images, in a sentence; empty where none does."""
    if not frames:
        return ""
    named = [f"{dataset.place(row)} ({count})" for row, count in list(frames.items())[:_NAMED_AT_MOST]]
    rest = ", …" if len(frames) > len(named) else ""
    return f"files of several images, of which the first is taken: {len(frames)}, at {', '.join(named)}{rest}"


def _each_once(files: Sequence[Path], look: Callable[[Picture], T], settings: DataSettings) -> Iterator[tuple[T, int] | BadImage]:
    """What was made of each image and how many its file holds, or why it can't be decoded."""

    def looked(path: Path) -> tuple[T, int] | BadImage:
        try:
            with opened(path, settings.max_pixels) as picture:
                return look(picture), picture.frames()
        except BadImage as error:
            return error

    with ThreadPoolExecutor(max(settings.workers, 1)) as pool:
        for start in range(0, len(files), _WINDOW):
            yield from pool.map(looked, files[start : start + _WINDOW])
