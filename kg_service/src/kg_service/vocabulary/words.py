"""Which names have which words. Words are runs of letters and digits, in lower case."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kg_service.storage.arrays import save_arrays
from kg_service.storage.csr import pointers, ranges
from kg_service.storage.strings import bytes_of, write_strings

Int64s = npt.NDArray[np.int64]

_OTHER = r"[^\p{L}\p{N}]+"
_BYTES = bytes(range(256))
_LOWER = _BYTES.lower()
# Bytes from 128 on are parts of letters and digits: what else is there in names beyond ASCII is made a space before.
_IN_WORD = bytes(byte >= 128 or chr(byte).isalnum() for byte in _BYTES)
_BETWEEN = bytes(byte for byte in _BYTES if not _IN_WORD[byte])
_SCHEMA = pa.schema([("word", pa.string()), ("count", pa.int32())])


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some names.

    Attributes:
        word: distinct words, in no order, string, [W].
        count: how many of the names have each, int32, [W].
        name: positions of these names, ascending for each word, word after word, int32, [sum of count].
    """

    word: pa.Array
    count: npt.NDArray[np.int32]
    name: npt.NDArray[np.int32]


def words_of(texts: pa.Array) -> Words:
    """The words of names 0 to N - 1, given as large_string, [N]."""
    offsets, data = bytes_of(_plain(texts))
    text = data.tobytes()
    inside = np.frombuffer(text.translate(_IN_WORD), np.bool_)
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    filled = offsets[:-1][offsets[:-1] < offsets[1:]]
    starts[filled] = inside[filled]
    letters, begin = text.translate(_LOWER, _BETWEEN), np.flatnonzero(starts[inside])
    word_offsets = np.append(begin, len(letters)).astype(np.int32)
    words = pa.StringArray.from_buffers(len(begin), pa.py_buffer(word_offsets), pa.py_buffer(letters)).dictionary_encode()
    name = np.searchsorted(offsets, np.flatnonzero(starts), side="right") - 1
    pairs = (words.indices.to_numpy().astype(np.int64) << 32) + name
    pairs.sort()
    pairs = pairs[np.diff(pairs, prepend=-1) != 0]
    count = np.bincount(pairs >> 32, minlength=len(words.dictionary)).astype(np.int32)
    return Words(words.dictionary, count, (pairs & 0xFFFFFFFF).astype(np.int32))


def _plain(texts: pa.Array) -> pa.Array:
    """Texts beyond ASCII in lower case, with a space for whatever is no letter or digit; the others as they are."""
    beyond = pc.invert(pc.string_is_ascii(texts))
    strange = texts.filter(beyond)
    return (
        pc.replace_with_mask(texts, beyond, pc.replace_substring_regex(pc.utf8_lower(strange), _OTHER, " "))
        if len(strange)
        else texts
    )


class WordFiles:
    """The words of all names, batch after batch, in nameless files that vanish with the process, however it ends."""

    def __init__(self, scratch: Path) -> None:
        self._open = ExitStack()
        files = (tempfile.TemporaryFile(dir=scratch) for _ in range(2))  # noqa: SIM115  (the stack closes them)
        self._words, self._names = map(self._open.enter_context, files)
        self._writer: Any = pa.ipc.new_stream(self._words, _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def add(self, words: Words, first_name: int) -> None:
        """Takes the words of the next names, of which the first has position `first_name`."""
        self._writer.write_batch(pa.record_batch([words.word, pa.array(words.count)], schema=_SCHEMA))
        (words.name + np.int32(first_name)).tofile(self._names)

    def write(self, folder: Path) -> int:
        """Writes the words, sorted, and their postings; returns how many words there are."""
        self._writer.close()
        self._words.seek(0)
        table = pa.ipc.open_stream(self._words).read_all()
        encoded = table.column("word").combine_chunks().dictionary_encode()
        by_text = pc.array_sort_indices(encoded.dictionary)
        place = np.empty(len(by_text), np.int32)
        place[by_text.to_numpy()] = np.arange(len(by_text), dtype=np.int32)
        word, count = place[encoded.indices.to_numpy()], table.column("count").combine_chunks().to_numpy()
        starts = pointers(np.bincount(word, weights=count, minlength=len(by_text)).astype(np.int64))
        save_arrays(folder, {"word_names": starts})
        sizes = list(map(len, table.column("word").chunks))
        self._write_postings(folder / "postings.npy", word, count, sizes, starts)
        return write_strings(folder, "word", [encoded.dictionary.take(by_text)])

    def _write_postings(
        self, path: Path, word: npt.NDArray[np.int32], count: npt.NDArray[np.int32], sizes: list[int], starts: Int64s
    ) -> None:
        if not starts[-1]:
            np.save(path, np.zeros(0, np.int32))
            return
        postings = np.lib.format.open_memmap(path, "w+", np.int32, (int(starts[-1]),))
        free = starts[:-1].copy()
        self._names.seek(0)
        for start, stop in zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True):
            words, counts = word[start:stop], count[start:stop].astype(np.int64)
            names = np.fromfile(self._names, np.int32, int(counts.sum()))
            postings[ranges(free[words], counts)] = names
            free[words] += counts
        postings.flush()
