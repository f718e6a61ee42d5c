"""Misspelt words, as the vocabulary's own words: `cardiomegally`, `effussion`, `pnuemothorax`.

A word is looked up if it has six letters or more, and neither it nor another form of it is a word of the vocabulary or of general
English. It is taken for the vocabulary's word that one edit makes of it, keeping its first letter: a letter too many or too few,
two neighbours exchanged, or, from eight letters on, another letter. Of several the most used counts if it is so by far.
Two edits were tried: they make one medical word of another more often than they mend one (craniectomy, craniotomy; thrombolysis,
thrombosis; interlobar, intralobar).

Symmetric deletion (Garbe, 2012): a word and its misspelling share what is left when a letter, not the first, is taken out of
either or both.

    stems      uint64 [S]   hashes of the stems of all words of the vocabulary, ascending
    deletions  uint32 [D]   half hashes of words and of those words without one letter, ascending
    deleted    int32 [D]    which word: its position in the vocabulary's sorted words
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.linking.dictionary.normaliser import Normaliser, hash_of
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
    deletions: npt.NDArray[np.uint32]
    deleted: npt.NDArray[np.int32]
    words: WordIndex

    def correct(self, words: Sequence[tuple[str, tuple[str, ...]]]) -> list[str | None]:
        """For each word (folded, with its stems) the word of the vocabulary that it is a misspelling of, or None."""
        plausible = [i for i, (word, _) in enumerate(words) if _LEAST <= len(word) <= _MOST and _is_plain(word)]
        known = self._are_known([words[i][1] for i in plausible])
        unknown = {i: words[i][0] for i, is_known in zip(plausible, known, strict=True) if not is_known}
        nearest = self._nearest(set(unknown.values()))
        plurals = {word[:-1] for word in unknown.values() if nearest[word] is None and word.endswith("s")}
        nearest_of_plurals = self._nearest(plurals)
        right = {i: nearest[word] or nearest_of_plurals.get(word[:-1]) for i, word in unknown.items()}
        return [right.get(i) for i in range(len(words))]

    def _nearest(self, words: set[str]) -> dict[str, str | None]:
        return {word: self._most_used(word, positions) for word, positions in self._neighbours(sorted(words)).items()}

    def _most_used(self, word: str, positions: set[int]) -> str | None:
        near = {
            position: int(self.words.pointers[position + 1] - self.words.pointers[position])
            for position in positions
            if _is_one_edit(word, self.words.words[position])
        }
        best, *others = sorted(near, key=lambda position: (-near[position], position)) or [-1]
        if best < 0 or (others and near[best] < _MARGIN * near[others[0]]):
            return None
        return self.words.words[best]

    def _are_known(self, words: list[tuple[str, ...]]) -> list[bool]:
        """Which words, given as their stems, have a stem that general English or the vocabulary has."""
        english = [not _english().isdisjoint(stems) for stems in words]
        asked = [(i, hash_of(stem)) for i, stems in enumerate(words) if not english[i] for stem in stems]
        owners, hashes = np.array([i for i, _ in asked], np.int64), np.array([value for _, value in asked], np.uint64)
        known = np.array(english, np.bool_)
        known[owners[_are_in(self.stems, hashes)]] = True
        flags: list[bool] = known.tolist()
        return flags

    def _neighbours(self, words: list[str]) -> dict[str, set[int]]:
        """The vocabulary's words that share a deletion with each word: their positions."""
        deletions = [(i, _half_hash(text)) for i, word in enumerate(words) for text in _without_a_letter(word)]
        owners, hashes = np.array([i for i, _ in deletions], np.int64), np.array([value for _, value in deletions], np.uint32)
        low = np.searchsorted(self.deletions, hashes)
        found = np.flatnonzero(low < np.searchsorted(self.deletions, hashes, side="right"))
        positions: dict[str, set[int]] = {word: set() for word in words}
        for at in found.tolist():
            start = int(low[at])
            while start < len(self.deletions) and self.deletions[start] == hashes[at]:
                positions[words[owners[at]]].add(int(self.deleted[start]))
                start += 1
        return positions


def build_speller(words: WordIndex) -> dict[str, npt.NDArray[Any]]:
    """The arrays for a vocabulary's words."""
    normalise = Normaliser()
    counts = np.diff(words.pointers)
    stems = [np.zeros(0, np.uint64)]
    deletions = [np.zeros(0, np.uint64)]
    for start in range(0, len(words.words), _BATCH):
        batch = [
            (position, word)
            for position, word in enumerate(words.words[start : start + _BATCH], start)
            if _is_plain(word) and len(word) <= _MOST
        ]
        stems.append(np.array([hash_of(stem) for _, word in batch for stem in normalise(word).stems], np.uint64))
        # One number for both, so that sorting takes no more room than they do.
        packed = [
            _half_hash(text) << 32 | position
            for position, word in batch
            if len(word) >= _LEAST - 1 and (counts[position] >= _LEAST_NAMES or len(word) >= _LONG)
            for text in _without_a_letter(word)
        ]
        deletions.append(np.array(packed, np.uint64))
    all_deletions = np.concatenate(deletions)
    del deletions
    all_deletions.sort()
    # A double letter gives the same without either.
    all_deletions = all_deletions[np.flatnonzero(np.diff(all_deletions, prepend=np.uint64(0)))]
    return {
        "stems": np.unique(np.concatenate(stems)),
        "deletions": (all_deletions >> np.uint64(32)).astype(np.uint32),
        "deleted": (all_deletions & np.uint64(0xFFFFFFFF)).astype(np.int32),
    }


def _half_hash(text: str) -> int:
    """32 bits: words that share them by chance are told apart by their letters."""
    return hash_of(text) >> 32


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha()


def _without_a_letter(word: str) -> Iterator[str]:
    """`word`, and `word` without each of its letters but the first."""
    yield word
    yield from (word[:i] + word[i + 1 :] for i in range(1, len(word)))


def _are_in(known: npt.NDArray[np.uint64], values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of the values [V] are among `known` (ascending)."""
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[at] == values if len(known) else np.zeros(len(values), np.bool_)


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
