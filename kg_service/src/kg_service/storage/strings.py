"""A read-only list of strings in two arrays, as Arrow lays them out: UTF-8 bytes end to end, and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kg_service.storage.arrays import ArrayWriter, open_array

_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Strings(Sequence[str]):
    """N strings; a slice of them is a list, which is faster than one by one.

    Attributes:
        offsets: int64, [N + 1], from 0 up.
        data: uint8, the text of string i at offsets[i] to offsets[i + 1].
    """

    offsets: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, position: int) -> str: ...

    @overload
    def __getitem__(self, position: slice) -> list[str]: ...

    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            start, stop, _ = position.indices(len(self))
            offsets = np.ascontiguousarray(self.offsets[start : max(start, stop) + 1])
            strings = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(self.data))
            return list(strings.to_pylist())
        return self.data[self.offsets[position] : self.offsets[position + 1]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self[start : start + _AT_ONCE]


def write_strings(directory: Path, stem: str, batches: Iterable[pa.Array]) -> int:
    """Writes `<stem>_offsets.npy` and `<stem>_data.npy`; returns how many strings. Holds one batch in memory."""
    with StringsWriter(directory, stem) as writer:
        for batch in batches:
            writer.add(batch)
    return writer.length


def map_strings(directory: Path, stem: str) -> Strings:
    """What `write_strings` or `StringsWriter` wrote, mapped."""
    return Strings(open_array(directory / f"{stem}_offsets.npy"), open_array(directory / f"{stem}_data.npy"))


class StringsWriter:
    """The two files of a list of strings, which grow by batches; whole once it is left without an error."""

    def __init__(self, directory: Path, stem: str) -> None:
        self._open = ExitStack()
        self._data = self._open.enter_context(ArrayWriter(directory / f"{stem}_data.npy", np.uint8))
        self._offsets = self._open.enter_context(ArrayWriter(directory / f"{stem}_offsets.npy", np.int64))
        self._offsets.add(np.zeros(1, np.int64))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    @property
    def length(self) -> int:
        """How many strings there are so far."""
        return self._offsets.length - 1

    def add(self, batch: pa.Array) -> None:
        """Writes strings at the end."""
        offsets, data = bytes_of(batch.cast(pa.large_string()))
        self._offsets.add(self._data.length + offsets[1:])
        self._data.add(data)


def bytes_of(texts: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets from 0 up, int64, [N + 1], and UTF-8 bytes, uint8, of a large_string array without nulls."""
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return offsets - offsets[0], data
