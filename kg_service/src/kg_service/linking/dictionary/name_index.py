"""The compiled index from bags of stems to names.

A name's key is the sum, modulo 2^64, of its stems' hashes, so word order does not matter and the key of any run of words
is a difference of two prefix sums. What tells names of one key apart lies beside: 32 bits of the hashes that depend on order,
lemma and case. Two names that share 96 bits by chance would be taken for one another; at 10 million names and a billion
lookups that is one chance in a million.

    keys       uint64 [K]      distinct keys, ascending
    starts     int32 [K + 1]   row pointers into the arrays of names
    names      int32 [P]       name positions in the vocabulary
    prints     uint32 [P, 4]   upper half of the hashes BAG, LEMMAS, FOLDED, EXACT (`tokens.py`)
    strict     bool [P]        the name is an acronym or shorter than three characters: it counts in its own case only
    seen       uint8 [2^b / 8] bit (key mod 2^b) is set for each key: most lookups end here
    evidence   uint8 [N]       bits of the number of names and is_a edges of a concept
    stems, deletions, deleted  what tells misspelt words (`speller.py`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact, NotFound

from kg_service.linking.dictionary.normaliser import MAX_STEMS, strip_name
from kg_service.linking.dictionary.speller import build_speller
from kg_service.linking.dictionary.tokens import (
    ACRONYM,
    BAG,
    EXACT,
    FOLDED,
    KEY,
    LEMMAS,
    LETTERS,
    STEMS,
    Ints,
    Uint64s,
    WordTable,
    tokenise,
)
from kg_service.linking.plain_text import plain
from kg_service.storage.arrays import save_arrays
from kg_service.storage.artefact import open_index, write_manifest, writing_artefact
from kg_service.vocabulary.vocabulary import Vocabulary

KIND, FORMAT = "name-index", 6
PRINTS = (BAG, LEMMAS, FOLDED, EXACT)
_HINT = "build it again: kg-service vocabulary build RRF_DIR"
_BATCH = 1 << 16
_BITS_PER_KEY = 8
_SHORT_NAME = 3


@dataclass(frozen=True, slots=True)
class NameIndex:
    """The arrays above, memory-mapped."""

    keys: Uint64s
    starts: npt.NDArray[np.int32]
    names: npt.NDArray[np.int32]
    prints: npt.NDArray[np.uint32]
    strict: npt.NDArray[np.bool_]
    seen: npt.NDArray[np.uint8]
    evidence: npt.NDArray[np.uint8]
    stems: Uint64s
    deletions: npt.NDArray[np.uint32]
    deleted: npt.NDArray[np.int32]

    def find(self, keys: Uint64s) -> tuple[Ints, Ints]:
        """Which of `keys` [Q] the index has: their positions in the query and in the index, int64, both [hits]."""
        return find_keys(self.keys, self.seen, keys)


def find_keys(known: Uint64s, seen: npt.NDArray[np.uint8], keys: Uint64s) -> tuple[Ints, Ints]:
    """Which of `keys` [Q] are among `known` (ascending, with their bit field `seen`): positions in both, int64, [hits]."""
    bits = keys & np.uint64(8 * len(seen) - 1)
    likely = np.flatnonzero(seen[bits >> np.uint64(3)] >> (bits & np.uint64(7)).astype(np.uint8) & 1)
    position = np.searchsorted(known, keys[likely])
    found = known[np.minimum(position, len(known) - 1)] == keys[likely]
    return likely[found], position[found]


def fingerprints(hashes: Uint64s) -> npt.NDArray[np.uint32]:
    """The upper half of each hash: sums are even in their lower bits more often than chance has it."""
    upper: npt.NDArray[np.uint32] = (hashes >> np.uint64(32)).astype(np.uint32)
    return upper


def index_folder(vocabulary_dir: Path) -> Path:
    """Where the name index of a vocabulary lies: `<vocabulary>.names`, beside it."""
    return vocabulary_dir.with_name(f"{vocabulary_dir.name}.names")


def ensure_name_index(vocabulary: Vocabulary) -> NameIndex:
    """The index beside the vocabulary; compiled first if it is not there yet, or was made from another vocabulary."""
    folder = index_folder(vocabulary.directory)
    try:
        return open_name_index(folder, vocabulary)
    except (NotFound, BrokenArtefact):
        build_name_index(vocabulary, folder)
        return open_name_index(folder, vocabulary)


def build_name_index(vocabulary: Vocabulary, directory: Path) -> int:
    """Compiles the index of all names of `vocabulary` into `directory`; returns how many names it holds."""
    keys, names, prints, strict = map(np.concatenate, zip(*_keyed_names(vocabulary), strict=True))
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else np.zeros(0, np.int64)
    counts = {"keys": len(first), "names": len(order)}
    with writing_artefact(directory) as folder:
        save_arrays(folder, {"names": names[order], "prints": prints[order], "strict": strict[order]})
        del names, prints, strict
        starts = np.append(first, len(order)).astype(np.int32)
        save_arrays(folder, {"keys": keys[first], "starts": starts, "seen": bit_field(keys[first])})
        del keys, order, first, starts
        save_arrays(folder, {"evidence": _evidence_bits(vocabulary), **build_speller(vocabulary.words)})
        write_manifest(folder, {"kind": KIND, "format": FORMAT, "vocabulary": vocabulary.sha256, "counts": counts})
    return counts["names"]


def open_name_index(directory: Path, vocabulary: Vocabulary) -> NameIndex:
    """Maps the index in `directory` into memory.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or made from another vocabulary.
    """
    index = open_index(directory, KIND, FORMAT, vocabulary.sha256, hint=_HINT)
    return NameIndex(*(index.array(field.name) for field in fields(NameIndex)))


def _keyed_names(vocabulary: Vocabulary) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """Key, position, prints and strictness of the names that a text can safely mean, in batches."""
    words = WordTable()
    yield np.zeros(0, np.uint64), np.zeros(0, np.int32), np.zeros((0, 4), np.uint32), np.zeros(0, np.bool_)
    for start in range(0, vocabulary.name_count, _BATCH):
        words = WordTable() if words.full else words
        texts = list(map(_plain_name, vocabulary.name_texts(start, min(start + _BATCH, vocabulary.name_count))))
        tokens = tokenise(texts, words)
        first, end = tokens.bounds[:-1], tokens.bounds[1:]
        stems, letters = tokens.run_count(STEMS, first, end), tokens.run_count(LETTERS, first, end)
        kept = np.flatnonzero((stems >= 1) & (stems <= MAX_STEMS) & (letters > 1))
        first, end = first[kept], end[kept]
        prints = np.stack([fingerprints(tokens.run_hash(column, first, end)) for column in PRINTS], axis=1)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))[kept]
        strict = (lengths < _SHORT_NAME) | ((end - first == 1) & (tokens.counts[first, ACRONYM] > 0))
        yield tokens.run_hash(KEY, first, end), (start + kept).astype(np.int32), prints, strict


def _plain_name(name: str) -> str:
    return plain(strip_name(name))


def bit_field(keys: Uint64s) -> npt.NDArray[np.uint8]:
    """What `seen` holds for `keys`."""
    bits = 1 << max(6, (len(keys) * _BITS_PER_KEY - 1).bit_length())
    field = np.zeros(bits, np.bool_)
    field[keys & np.uint64(bits - 1)] = True
    packed: npt.NDArray[np.uint8] = np.packbits(field, bitorder="little")
    return packed


def _evidence_bits(vocabulary: Vocabulary) -> npt.NDArray[np.uint8]:
    bits: npt.NDArray[np.uint8] = (np.floor(np.log2(np.maximum(vocabulary.evidence, 1))) + 1).astype(np.uint8)
    return bits
