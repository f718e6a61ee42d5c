"""The compiled index from bags of stems to names.

A name's key is the sum, modulo 2^64, of its stems' hashes, so word order does not matter and the key of any run of words
is a difference of two prefix sums. Whoever looks a key up compares stems afterwards: a collision costs time, nothing else.

    keys     uint64 [K]      distinct keys, ascending
    starts   int64 [K + 1]   row pointers into `names`
    names    int32 [P]       name positions in the vocabulary
    seen     uint8 [2^b / 8] bit (key mod 2^b) is set for each key: most lookups end here
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip_shared.errors import BrokenArtefact

from kg_service.linking.normaliser import MAX_STEMS, TOKEN, Normaliser, strip_name
from kg_service.vocabulary.artefact import open_array, read_manifest, write_manifest, writing_folder
from kg_service.vocabulary.vocabulary import Vocabulary

KIND, FORMAT = "name-index", 1
_HINT = "build it again: kg-service vocabulary build RRF_DIR"
_BATCH = 1 << 16
_BITS_PER_KEY = 8

Uint64s = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class NameIndex:
    """The arrays above, memory-mapped."""

    keys: Uint64s
    starts: npt.NDArray[np.int64]
    names: npt.NDArray[np.int32]
    seen: npt.NDArray[np.uint8]

    def find(self, keys: Uint64s) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Which of `keys` [Q] the index has: their positions in the query and in the index, int64, both [hits]."""
        bits = keys & np.uint64(8 * len(self.seen) - 1)
        likely = np.flatnonzero(self.seen[bits >> np.uint64(3)] >> (bits & np.uint64(7)).astype(np.uint8) & 1)
        position = np.searchsorted(self.keys, keys[likely])
        found = self.keys[np.minimum(position, len(self.keys) - 1)] == keys[likely]
        return likely[found], position[found]

    def names_at(self, position: int) -> list[int]:
        """Positions in the vocabulary of the names with the key at `position`."""
        return list(self.names[self.starts[position] : self.starts[position + 1]].tolist())


def build_name_index(vocabulary: Vocabulary, directory: Path) -> int:
    """Compiles the index of all names of `vocabulary` into `directory`; returns how many names it holds."""
    parts = list(_keyed_names(vocabulary))
    key_P = np.concatenate([keys for keys, _ in parts])
    name_P = np.concatenate([names for _, names in parts])
    order = np.argsort(key_P, kind="stable")
    keys, first = np.unique(key_P[order], return_index=True)
    arrays: dict[str, npt.NDArray[Any]] = {"keys": keys, "names": name_P[order], "seen": _bit_field(keys)}
    arrays["starts"] = np.append(first, len(name_P)).astype(np.int64)
    with writing_folder(directory) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        counts = {"keys": len(keys), "names": len(name_P)}
        write_manifest(folder, {"kind": KIND, "format": FORMAT, "vocabulary": vocabulary.sha256, "counts": counts})
    return len(name_P)


def open_name_index(directory: Path, vocabulary: Vocabulary) -> NameIndex:
    """Maps the index in `directory` into memory.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or made from another vocabulary.
    """
    manifest = read_manifest(directory, KIND, FORMAT, hint=_HINT)
    if manifest.get("vocabulary") != vocabulary.sha256:
        raise BrokenArtefact(f"{directory} is the index of another vocabulary than {vocabulary.directory}", hint=_HINT)
    return NameIndex(*(open_array(directory, name) for name in ("keys", "starts", "names", "seen")))


def _keyed_names(vocabulary: Vocabulary) -> Iterator[tuple[Uint64s, npt.NDArray[np.int32]]]:
    normalise = Normaliser()
    yield np.zeros(0, np.uint64), np.zeros(0, np.int32)
    for start in range(0, vocabulary.name_count, _BATCH):
        texts = vocabulary.name_texts(start, min(start + _BATCH, vocabulary.name_count))
        keyed = [(key, start + i) for i, text in enumerate(texts) if (key := name_key(text, normalise)) is not None]
        yield np.array([key for key, _ in keyed], np.uint64), np.array([name for _, name in keyed], np.int32)


def name_key(name: str, normalise: Normaliser) -> int | None:
    """The key of a name, or None for one that no text can safely mean: without letters, of one letter, or too long."""
    count = total = 0
    letters = 0
    for match in TOKEN.finditer(strip_name(name)):
        if word := match["word"]:
            normal = normalise(word)
            count, total = count + len(normal.stems), total + normal.key
            letters += sum(map(str.isalpha, word)) if normal.stems else 0
    return total % 2**64 if 1 <= count <= MAX_STEMS and letters > 1 else None


def _bit_field(keys: Uint64s) -> npt.NDArray[np.uint8]:
    bits = 1 << max(6, (len(keys) * _BITS_PER_KEY - 1).bit_length())
    field = np.zeros(bits, np.bool_)
    field[keys & np.uint64(bits - 1)] = True
    return np.packbits(field, bitorder="little")
