"""Looks at every image of a dataset once, before a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.decoding import image_header, open_image
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.errors import BadImage

_WINDOW = 4_096
"""Images that are looked at ahead of the one whose turn it is."""
T = TypeVar("T")


def bad_images(dataset: Dataset, settings: DataSettings) -> list[str]:
    """`file:line: reason` of each row whose image can't be decoded."""
    return reasons(dataset, list(each_once(dataset.files, check_of(settings), settings.workers)))


def each_once(files: Sequence[Path], look: Callable[[Path], T], threads: int) -> Iterator[T | BadImage]:
    """What `look` makes of each image, or why it can't, in order; Pillow decodes outside of Python's lock."""

    def looked(path: Path) -> T | BadImage:
        try:
            return look(path)
        except BadImage as error:
            return error

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, len(files), _WINDOW):
            yield from pool.map(looked, files[start : start + _WINDOW])


def check_of(settings: DataSettings) -> Callable[[Path], None]:
    """Raises BadImage where an image can't be decoded, or, with `data.check=headers`, does not begin as one."""

    def check(path: Path) -> None:
        if settings.check == "headers":
            with image_header(path, settings.max_pixels):
                return
        open_image(path, settings.max_pixels)

    return check


def reasons(dataset: Dataset, results: Sequence[object]) -> list[str]:
    """`file:line: reason` of each row of which `each_once` gave a BadImage."""
    return [f"{dataset.place(row)}: {result.message}" for row, result in enumerate(results) if isinstance(result, BadImage)]
