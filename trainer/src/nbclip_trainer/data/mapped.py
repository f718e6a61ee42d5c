"""Files of an index, mapped: what is read of them is in memory once for all processes, and goes when others need the room.

Shape legend: N rows of the data, R rows that are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Table:
    """The columns of the data, in Arrow files of `part_rows` rows each, the last of fewer: `00000.arrow`, `00001.arrow`, …"""

    def __init__(self, folder: Path, rows: int, part_rows: int) -> None:
        self._folder, self._rows, self.part_rows = folder, rows, part_rows
        self._parts: dict[int, Any] = {}

    def __len__(self) -> int:
        return self._rows

    def __reduce__(self) -> tuple[Callable[..., Table], tuple[Path, int, int]]:
        # Processes that decode images map the files themselves.
        return Table, (self._folder, self._rows, self.part_rows)

    @property
    def parts(self) -> range:
        """Numbers of the parts."""
        return range(-(-self._rows // self.part_rows))

    def rows_of_part(self, number: int) -> slice:
        """The rows that a part has."""
        return slice(number * self.part_rows, min((number + 1) * self.part_rows, self._rows))

    def part(self, number: int) -> Any:
        """A part, as Arrow's record batch."""
        if number not in self._parts:
            with pa.memory_map(str(part_file(self._folder, number))) as file:
                self._parts[number] = pa.ipc.open_file(file).get_batch(0)
        return self._parts[number]

    def column(self, number: int, name: str) -> Any:
        """A column of a part, as Arrow's array; nulls where its files lack it."""
        part = self.part(number)
        return part.column(name) if name in part.schema.names else pa.nulls(part.num_rows, pa.large_string())

    def values(self, name: str, row_R: Rows) -> list[Any]:
        """A column's values in some rows."""
        value_R = np.empty(len(row_R), object)
        for number, at, within in self._by_part(row_R):
            value_R[at] = self.column(number, name).take(pa.array(within)).to_pylist()
        return value_R.tolist()

    def frame(self, row_R: Rows, names: Sequence[str]) -> pl.DataFrame:
        """Columns of some rows, which ascend, in memory."""
        taken = [
            [self.column(number, name).take(pa.array(within)) for name in names] for number, _, within in self._by_part(row_R)
        ]
        columns = (pa.chunked_array([_plain(part[place]) for part in taken]) for place in range(len(names)))
        return pl.DataFrame({name: pl.from_arrow(column) for name, column in zip(names, columns, strict=True)})

    def find(self, name: str, values: Iterable[str]) -> Rows:
        """The rows in which a column has one of some values."""
        wanted = pa.array(list(values), pa.large_string())
        found = (np.flatnonzero(pc.is_in(self.column(number, name), wanted)) + number * self.part_rows for number in self.parts)
        return np.concatenate(list(found)).astype(np.int64)

    def _by_part(self, row_R: Rows) -> Iterator[tuple[int, Any, Rows]]:
        """Number of each part with some of the rows, their places among these, and in the part."""
        part_R, within_R = np.divmod(row_R, self.part_rows)
        for number in np.unique(part_R).tolist():
            at = np.flatnonzero(part_R == number)
            yield number, at, within_R[at]


def part_file(folder: Path, number: int, suffix: str = "arrow") -> Path:
    """The file of a part."""
    return folder / f"{number:05}.{suffix}"


def write_json(path: Path, told: Any) -> None:
    """Writes a record as a whole: whoever is killed meanwhile leaves none."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(told), encoding="utf-8")
    unfinished.replace(path)


def write_part(path: Path, columns: dict[str, list[Any]]) -> None:
    """Writes a part of a table; what is said over and over is written once."""
    arrays = {name: pa.array(values, pa.int64() if name == "line" else pa.large_string()) for name, values in columns.items()}
    for name in {"split", "read_from"} & arrays.keys():
        arrays[name] = arrays[name].dictionary_encode()
    batch = pa.RecordBatch.from_pydict(arrays)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


class Column(Sequence[Any]):
    """A column's values in N rows, read when they are asked for."""

    def __init__(self, table: Table, name: str, row_N: Rows | None) -> None:
        self._table, self._name, self._row_N = table, name, row_N

    def __len__(self) -> int:
        return len(self._table) if self._row_N is None else len(self._row_N)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        places = range(len(self))[place]
        if isinstance(places, int):
            return self._values([places])[0]
        return self._values(places)

    def __iter__(self) -> Iterator[Any]:
        size = self._table.part_rows
        for start in range(0, len(self), size):
            yield from self[start : start + size]

    def arrays(self) -> Iterator[Any]:
        """The values in their order, which is that of the table, as Arrow's arrays: part by part, none of them empty."""
        for number in self._table.parts:
            array, own = self._table.column(number, self._name), self._table.rows_of_part(number)
            if self._row_N is not None:
                first, last = np.searchsorted(self._row_N, (own.start, own.stop))
                array = array.take(pa.array(self._row_N[first:last] - own.start))
            if len(array):
                yield array

    def _values(self, places: Sequence[int]) -> list[Any]:
        wanted = np.asarray(places, np.int64)
        return self._table.values(self._name, wanted if self._row_N is None else self._row_N[wanted])


def arrays_of(texts: Sequence[str]) -> Iterator[Any]:
    """Texts as Arrow's arrays, one after another; those of a table are not made Python's on the way."""
    if isinstance(texts, Column):
        yield from texts.arrays()
    elif texts:
        yield pa.array(texts, pa.large_string())


@dataclass(frozen=True, slots=True)
class MappedTensor:
    """Rows of a mapped array as a tensor, read when they are asked for.

    Attributes:
        array: [all rows, …].
        rows: which of them this has, int64, [N]; None: all.
        dtype: of what is given back.
    """

    array: npt.NDArray[Any]
    rows: Rows | None
    dtype: type[np.generic]

    def __len__(self) -> int:
        return len(self.array) if self.rows is None else len(self.rows)

    def __getitem__(self, rows: Any) -> Tensor:
        wanted = rows if self.rows is None else self.rows[rows]
        return torch.from_numpy(np.array(self.array[wanted], self.dtype))


def hashes_of(texts: Any) -> Hashes:
    """Of Arrow's array of strings, in its order; equal ones have equal hashes within a process."""
    return pl.Series(pl.from_arrow(texts), dtype=pl.String).hash().to_numpy()


def mapped(path: Path) -> npt.NDArray[Any]:
    """An array's file, mapped."""
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def new_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap[Any, Any]:
    """An array of zeros in a new file, mapped for writing."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def _plain(array: Any) -> Any:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
