"""Misspelt words, as the vocabulary's own words: `cardiomegally`, `effussion`, `pnuemothorax`.

A word is looked up if it has six letters or more, and neither it nor another form of it is a word of the vocabulary or of general
English. It is taken for the vocabulary's word that one edit makes of it, keeping its first letter: a letter too many or too few,
two neighbours exchanged, or, from eight letters on, another letter. Of several the most used counts if it is so by far.
Two edits were tried: they make one medical word of another more often than they mend one (craniectomy, craniotomy; thrombolysis,
thrombosis; interlobar, intralobar).

Symmetric deletion (Garbe, 2012): a word and its misspelling share what is left when a letter is taken out of either or both.

    stems      uint64 [S]   hashes of the stems of all words of the vocabulary, ascending
    deletions  uint64 [D]   hashes of words and of those words without one letter, ascending
    deleted    int32 [D]    which word: its position in the vocabulary's sorted words
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.linking.normaliser import Normaliser, hash_of
from kg_service.vocabulary.search import WordIndex

_LEAST, _LONG, _MOST = 6, 8, 32
_LEAST_NAMES = 2
"""In how many names a word must be, to be taken for what was meant; a long one need be in one alone."""
_MARGIN = 4
"""How many times as many names the chosen word must have as the next."""
_BATCH = 1 << 16


@dataclass(frozen=True, slots=True)
class Speller:
    """The arrays above, and the words they point to."""

    stems: npt.NDArray[np.uint64]
    deletions: npt.NDArray[np.uint64]
    deleted: npt.NDArray[np.int32]
    words: WordIndex

    def correct(self, word: str, stems: tuple[str, ...]) -> str | None:
        """The word of the vocabulary that `word` (folded, with those stems) is a misspelling of, or None."""
        if not (_LEAST <= len(word) <= _MOST and _is_plain(word)) or self._is_known(stems):
            return None
        return self._nearest(word) or (self._nearest(word[:-1]) if word.endswith("s") else None)

    def _nearest(self, word: str) -> str | None:
        near = {
            position: int(self.words.pointers[position + 1] - self.words.pointers[position])
            for position in self._neighbours(word)
            if _is_one_edit(word, self.words.words[position])
        }
        best, *others = sorted(near, key=lambda position: (-near[position], position)) or [-1]
        if best < 0 or (others and near[best] < _MARGIN * near[others[0]]):
            return None
        return self.words.words[best]

    def _is_known(self, stems: tuple[str, ...]) -> bool:
        return any(stem in _english() or _has(self.stems, hash_of(stem)) for stem in stems)

    def _neighbours(self, word: str) -> list[int]:
        hashes = np.array(sorted({hash_of(text) for text in _without_a_letter(word)}), np.uint64)
        low, high = (np.searchsorted(self.deletions, hashes, side=side) for side in ("left", "right"))
        return sorted({int(row) for a, b in zip(low, high, strict=True) for row in self.deleted[a:b]})


def build_speller(words: WordIndex) -> dict[str, npt.NDArray[Any]]:
    """The arrays for a vocabulary's words."""
    normalise = Normaliser()
    counts = np.diff(words.pointers)
    stems: set[int] = set()
    parts: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]] = []
    for start in range(0, len(words.words), _BATCH):
        hashes: list[int] = []
        owners: list[int] = []
        for position, word in enumerate(words.words.slice(start, start + _BATCH), start):
            if not _is_plain(word) or len(word) > _MOST:
                continue
            stems.update(map(hash_of, normalise(word).stems))
            if len(word) >= _LEAST - 1 and (counts[position] >= _LEAST_NAMES or len(word) >= _LONG):
                found = [hash_of(text) for text in _without_a_letter(word)]
                hashes += found
                owners += [position] * len(found)
        parts.append((np.array(hashes, np.uint64), np.array(owners, np.int32)))
    deletions, deleted = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else _nothing()
    order = np.argsort(deletions, kind="stable")
    return {"stems": np.array(sorted(stems), np.uint64), "deletions": deletions[order], "deleted": deleted[order]}


def _nothing() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    return np.zeros(0, np.uint64), np.zeros(0, np.int32)


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha()


def _without_a_letter(word: str) -> Iterator[str]:
    """`word`, and `word` without each of its letters."""
    yield word
    yield from (word[:i] + word[i + 1 :] for i in range(len(word)))


def _has(known: npt.NDArray[np.uint64], value: int) -> bool:
    at = int(np.searchsorted(known, np.uint64(value)))
    return at < len(known) and int(known[at]) == value


def _is_one_edit(word: str, right: str) -> bool:
    """Whether one allowed edit makes `right` of `word`."""
    if word[0] != right[0] or word == right:
        return False
    if len(word) != len(right):
        longer, shorter = (word, right) if len(word) > len(right) else (right, word)
        return len(longer) == len(shorter) + 1 and shorter in _without_a_letter(longer)
    differ = [i for i, (one, other) in enumerate(zip(word, right, strict=True)) if one != other]
    match differ:
        case [_]:
            return len(word) >= _LONG
        case [i, j]:
            return j == i + 1 and word[i] == right[j] and word[j] == right[i]
    return False


@cache
def _english() -> frozenset[str]:
    packed = (resources.files("kg_service.linking") / "data" / "english_stems.txt.gz").read_bytes()
    return frozenset(line for line in gzip.decompress(packed).decode().splitlines() if not line.startswith("#"))
