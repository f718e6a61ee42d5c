"""Arrays as `.npy` files: written at once or batch by batch, and mapped into memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact

_SUFFIX = ".npy"
_AT_ONCE = 1 << 20

Arrays = dict[str, npt.NDArray[Any]]


def save_arrays(folder: Path, arrays: Arrays) -> None:
    """Writes each as `<name>.npy`, in C order."""
    for name, array in arrays.items():
        np.save(folder / f"{name}{_SUFFIX}", np.ascontiguousarray(array), allow_pickle=False)


def open_array(path: Path, *, whole_below: int = 0) -> npt.NDArray[Any]:
    """The array of a file, read-only: mapped, or read whole if the file is smaller than `whole_below` bytes.

    Raises:
        BrokenArtefact: it is no such file.
    """
    try:
        size = path.stat().st_size
        loaded = np.load(path, mmap_mode="r" if size >= whole_below else None, allow_pickle=False)
        if isinstance(loaded, np.memmap) and loaded.offset + loaded.nbytes != size:
            raise ValueError(f"its header describes {loaded.offset + loaded.nbytes} bytes of {size}")
        array: npt.NDArray[Any] = np.asarray(loaded)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # the latter of a damaged header
        raise BrokenArtefact(f"{path} is not an array: {error}", hint="build the artefact again") from error
    array.flags.writeable = False
    return array


def open_arrays(folder: Path, files: Iterable[str], prefix: str = "", *, whole_below: int = 0) -> Arrays:
    """Those of the files that are arrays and begin with `prefix`, by the rest of their names; opened as by `open_array`."""
    names = [file.removesuffix(_SUFFIX) for file in files if file.startswith(prefix) and file.endswith(_SUFFIX)]
    return {name.removeprefix(prefix): open_array(folder / f"{name}{_SUFFIX}", whole_below=whole_below) for name in names}


def retype(path: Path, dtype: npt.DTypeLike) -> None:
    """Writes a one-dimensional array anew with another type that can hold its values, part by part."""
    before, after = open_array(path), path.with_suffix(".retyped")
    with ArrayWriter(after, dtype) as writer:
        for start in range(0, len(before), _AT_ONCE):
            writer.add(before[start : start + _AT_ONCE])
    after.replace(path)


class ArrayWriter:
    """A `.npy` file that grows by batches of rows, one of them in memory; whole once it is left without an error.

    Its bytes are those of `save_arrays` of all rows at once.

    Args:
        path: the file.
        dtype: of its values.
        row: the shape of a row; of a one-dimensional array nothing.
    """

    def __init__(self, path: Path, dtype: npt.DTypeLike, row: tuple[int, ...] = ()) -> None:
        self._dtype, self._row = np.dtype(dtype), row
        self._stream = path.open("wb")
        self.length = 0
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stream:
            self._stream.seek(0)
            self._write_header()

    def add(self, batch: npt.NDArray[Any]) -> None:
        """Writes a batch at the end."""
        self._stream.write(np.ascontiguousarray(batch, self._dtype).reshape(-1).data)
        self.length += len(batch)

    def _write_header(self) -> None:
        # The format pads the header so that the first axis can grow in place: both headers have one size.
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.length, *self._row)}
        np.lib.format.write_array_header_1_0(self._stream, header)
