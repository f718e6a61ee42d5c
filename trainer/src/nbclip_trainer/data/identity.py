"""What changes when an image does, wherever it lies: its place in its container, and the size and time of the file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

_THREADS, _AT_ONCE = 16, 1_024
"""Files on another machine answer slowly, and many at once."""


def identity(file: str | os.PathLike[str]) -> str | None:
    """Of an image; None where there is none."""
    name = os.fspath(file)
    container, _, place = name.partition("#")
    for path, within in ((name, ""), (container, place)):
        try:
            status = Path(path).stat()
        except OSError:
            continue
        return f"{within} {status.st_size} {status.st_mtime_ns}"
    return None


def identities(files: Sequence[str]) -> list[str]:
    """Of many images, a line of each: `missing` where there is none."""
    parts = (files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(chain.from_iterable(pool.map(_lines, parts)))


def digest_of(lines: Iterable[str]) -> str:
    """SHA-256 (hexadecimal) of images by their lines."""
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _lines(files: Sequence[str]) -> list[str]:
    return [f"{identity(file) or 'missing'}\n" for file in files]
