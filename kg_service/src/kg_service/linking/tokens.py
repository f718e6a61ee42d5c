"""The content words of a batch of texts as arrays.

All texts are split at once; every distinct word is normalised and hashed once and then is a row number. A run of words has the
difference of two prefix sums as its key, whatever its length. Shape legend: T content words of the batch, W rows of the table.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.linking.normaliser import Normaliser, read_table

Ints = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_WORD = re.compile("([^\\W_]+(?:[\u0300-\u036f]+[^\\W_]*)*)")
_BARRIER = re.compile("[.;:!?()\\[\\]{}=\n\r\u2028\u2029]")
_JOINTS = frozenset("-.'’")
_PREFIX_LIST = "anti extra hyper hypo infra inter intra micro mid multi non peri post pre re retro semi sub supra trans ultra un"
_PREFIXES = frozenset(_PREFIX_LIST.split())
_ACRONYM_LENGTH = 5
_FIRST_ROWS = 1 << 12
_MAX_ROWS = 1 << 18
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)

# The table's columns; each hash of a run is order-dependent but for KEY and BAG, which are sums.
KEY, BAG, LEMMAS, FOLDED, EXACT = range(5)
# The table's counts.
STEMS, LETTERS, CAPITALS, COMMON, GENERAL, ACRONYM, SHORT_FORM = range(7)


class WordTable(dict[str, int]):
    """Rows of words: hashes uint64 [W, 5] and counts int64 [W, 7]. Grows as words are asked for; safe to share by threads."""

    def __init__(self, short_forms: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.hashes: Uint64s = np.zeros((_FIRST_ROWS, 5), np.uint64)
        self.counts: npt.NDArray[np.int64] = np.zeros((_FIRST_ROWS, 7), np.int64)
        self._normalise = Normaliser()
        self._short_forms = short_forms
        self._common = read_words("common_words.txt")
        self._general = frozenset(lemma for word in read_words("general_words.txt") for lemma in self._normalise(word).lemmas)
        self._lock = Lock()
        self.marks = _Marks()

    @property
    def full(self) -> bool:
        """Whether it is time for a new one."""
        return len(self) >= _MAX_ROWS

    def __missing__(self, word: str) -> int:
        with self._lock:
            if word not in self:
                self._add(word)
        return self[word]

    def _add(self, word: str) -> None:
        row = len(self)
        if row == len(self.hashes):
            self.hashes = np.concatenate((self.hashes, np.zeros_like(self.hashes)))
            self.counts = np.concatenate((self.counts, np.zeros_like(self.counts)))
        bare = word[:-1] if word.endswith("s") and is_acronym(word[:-1]) else word
        normal = self._normalise(bare)
        lemmas = [_hash(lemma) for lemma in normal.lemmas]
        in_order = sum(value * pow(_BASE, i, 1 << 64) for i, value in enumerate(lemmas))
        folded = word.casefold()
        sums = sum(map(_hash, normal.stems)), sum(lemmas), in_order, _hash(folded), _hash(bare)
        self.hashes[row] = [value % (1 << 64) for value in sums]
        self.counts[row] = (
            len(lemmas),
            sum(map(str.isalpha, word)) if lemmas else 0,
            sum(map(str.isupper, word)),
            folded in self._common,
            self._general.issuperset(normal.lemmas) or folded.isdigit(),
            is_acronym(bare),
            word in self._short_forms or bare in self._short_forms,
        )
        self[word] = row


def read_words(file: str) -> frozenset[str]:
    """The words of a file of the package's `data` folder."""
    return frozenset(word for row in read_table(file) for word in row[0].split())


def is_acronym(text: str) -> bool:
    """Whether a word looks like one: up to five characters with two capitals (CT, GGO, SpO2)."""
    return len(text) <= _ACRONYM_LENGTH and sum(map(str.isupper, text)) >= 2


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Content words of a batch of texts, end to end.

    Attributes:
        pieces: the texts, cut before and after each word: every second piece is one.
        content: which of those words is each content word, [T].
        starts: first character in its text, [T].
        ends: past the last character, [T].
        bounds: the words of text i are bounds[i] to bounds[i + 1].
        segments: number of barriers (full stops, brackets, text ends) before, [T].
        commas: number of commas before, [T].
        counts: of the table, [T, 7].
        count_sums: their prefix sums, [T + 1, 7].
        sums: prefix sums of the hashes, uint64 [T + 1, 5]; those that depend on order are scaled by their place.
        places: per hash column that depends on order (LEMMAS, FOLDED, EXACT): inverse scale at each word, uint64 [T + 1, 3].
    """

    pieces: list[str]
    content: Ints
    starts: Ints
    ends: Ints
    bounds: Ints
    segments: Ints
    commas: Ints
    counts: Ints
    count_sums: Ints
    sums: Uint64s
    places: Uint64s

    def __len__(self) -> int:
        return len(self.content)

    def word(self, position: int) -> str:
        """A content word, as it stands."""
        return self.pieces[2 * int(self.content[position]) + 1]

    def run_hash(self, column: int, first: Ints, end: Ints) -> Uint64s:
        """Hash `column` of the runs of words `first` to `end`, uint64 [runs]."""
        difference: Uint64s = self.sums[end, column] - self.sums[first, column]
        return difference if column < LEMMAS else difference * self.places[first, column - LEMMAS]

    def run_count(self, column: int, first: Ints, end: Ints) -> Ints:
        """Sum of count `column` over the runs of words `first` to `end`, int64 [runs]."""
        difference: Ints = self.count_sums[end, column] - self.count_sums[first, column]
        return difference


def tokenise(texts: Sequence[str], table: WordTable) -> Tokens:
    """The content words of `texts`."""
    pieces = _WORD.split("\n".join(texts))
    _join(pieces)
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    words, gaps = pieces[1::2], pieces[0::2]
    rows = np.fromiter(map(table.__getitem__, words), np.int64, len(words))
    counts = table.counts[rows]
    content = np.flatnonzero(counts[:, STEMS])
    barriers, commas = _count_marks(gaps, table.marks)
    text_ends = np.cumsum(np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts)))
    starts, ends = ends[0:-1:2][content], ends[1::2][content]
    bounds = np.concatenate(([0], np.searchsorted(starts, text_ends)))
    offsets = np.repeat(np.concatenate(([0], text_ends[:-1])), np.diff(bounds)) if len(texts) else np.zeros(0, np.int64)
    counts, hashes = counts[content], table.hashes[rows[content]]
    sums, places = _prefix_sums(hashes, counts[:, STEMS])
    count_sums = np.concatenate((np.zeros((1, counts.shape[1]), np.int64), np.cumsum(counts, axis=0)))
    return Tokens(
        pieces,
        content,
        starts - offsets,
        ends - offsets,
        bounds,
        barriers[content],
        commas[content],
        counts,
        count_sums,
        sums,
        places,
    )


def _join(pieces: list[str]) -> None:
    """Makes one word of `post-operative`, `1.5` and `Crohn's`: the pieces keep their number, the joined ones are empty gaps."""
    for gap in [i for i in range(2, len(pieces) - 2, 2) if pieces[i] in _JOINTS]:
        before, joint, after = pieces[gap - 1 : gap + 2]
        if (
            (joint == "-" and before.lower() in _PREFIXES and len(after) > 2 and after.isalpha())
            or (joint == "." and before.isdecimal() and after.isdecimal())
            or (joint in "'’" and after in ("s", "S"))
        ):
            pieces[gap - 1 : gap + 2] = "", "", before + joint + after
            # An empty word stands where the first was: the gap before it stays a gap.


class _Marks(dict[str, int]):
    """What a gap between words holds: 1 a comma, 2 a barrier, 3 both."""

    def __missing__(self, gap: str) -> int:
        marks = ("," in gap) + 2 * bool(_BARRIER.search(gap))
        if len(self) < _MAX_ROWS:
            self[gap] = marks
        return marks


def _count_marks(gaps: list[str], marks: _Marks) -> tuple[Ints, Ints]:
    """Barriers and commas before each word."""
    found = np.array([marks[gap] for gap in gaps[:-1]], np.int64)
    return np.cumsum(found >> 1), np.cumsum(found & 1)


def _prefix_sums(hashes: Uint64s, stems: Ints) -> tuple[Uint64s, Uint64s]:
    size = len(hashes) + 1
    by_word = np.arange(size)
    by_lemma = np.concatenate(([0], np.cumsum(stems)))
    places: Any = np.empty((size, 3), np.uint64)
    sums: Any = np.zeros((size, 5), np.uint64)
    scaled = hashes.copy()
    powers, inverses = (_powers(base, int(by_lemma[-1]) + 1) for base in (_BASE, _INVERSE))
    for column, place in ((LEMMAS, by_lemma), (FOLDED, by_word), (EXACT, by_word)):
        scaled[:, column] *= powers[place[:-1]]
        places[:, column - LEMMAS] = inverses[place]
    np.cumsum(scaled, axis=0, out=sums[1:])
    return sums, places


def _powers(base: int, count: int) -> Uint64s:
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
