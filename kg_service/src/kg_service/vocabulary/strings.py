"""A read-only list of strings in two arrays, as Arrow lays them out: UTF-8 bytes end to end, and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kg_service.vocabulary.artefact import write_array


@dataclass(frozen=True, slots=True)
class Strings:
    """N strings.

    Attributes:
        offsets: int64, [N + 1], from 0 up.
        data: uint8, the text of string i at offsets[i] to offsets[i + 1].
    """

    offsets: npt.NDArray[np.int64]
    data: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, position: int) -> str:
        return self.data[self.offsets[position] : self.offsets[position + 1]].tobytes().decode()

    def slice(self, start: int, stop: int) -> list[str]:
        """Strings `start` to `stop` at once, which is faster than one by one."""
        offsets = np.ascontiguousarray(self.offsets[start : stop + 1])
        strings = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(self.data))
        return list(strings.to_pylist())


def write_strings(directory: Path, stem: str, batches: Iterable[pa.Array]) -> int:
    """Writes `<stem>_offsets.npy` and `<stem>_data.npy`; returns how many strings. Holds one batch and the lengths in memory."""
    lengths = [np.zeros(1, np.int64)]

    def texts() -> Iterator[npt.NDArray[np.uint8]]:
        for batch in batches:
            encoded = batch.cast(pa.large_string())
            offsets = np.frombuffer(encoded.buffers()[1], np.int64)[encoded.offset : encoded.offset + len(encoded) + 1]
            lengths.append(np.diff(offsets))
            yield np.frombuffer(encoded.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]

    write_array(directory / f"{stem}_data.npy", np.uint8, texts())
    offsets = np.cumsum(np.concatenate(lengths))
    np.save(directory / f"{stem}_offsets.npy", offsets)
    return len(offsets) - 1
