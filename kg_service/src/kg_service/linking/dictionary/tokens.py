"""The content words of a batch of plain texts (`plain_text.py`) as arrays.

All texts are split at once; every distinct word is normalised and hashed once and then is a row number. A run of words has the
difference of two prefix sums as its key, whatever its length. Shape legend: T content words of the batch, W rows of the table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.linking.dictionary.normaliser import Normaliser, Word, hash_of
from kg_service.linking.dictionary.speller import Speller
from kg_service.linking.tables import read_table
from kg_service.linking.triggers import may_tell, may_tell_mark

Ints = npt.NDArray[np.int64]
Uint64s = npt.NDArray[np.uint64]

_WORD = re.compile("([^\\W_]+(?:[\u0300-\u036f]+[^\\W_]*)*)")
_ASCII_WORD = re.compile("([A-Za-z0-9]+)")
_BARRIER = re.compile("[.;:!?()\\[\\]{}=\n\r\u2028\u2029]")
_APOSTROPHES = frozenset(("'", "’", "`", " '", " ’", " `"))
_JOINTS = _APOSTROPHES | {"-", "."}
_PREFIX_LIST = "anti extra hyper hypo infra inter intra micro mid multi non peri post pre re retro semi sub supra trans ultra un"
_PREFIXES = frozenset(_PREFIX_LIST.split())
_VOWEL = re.compile("[aeiouy]", re.IGNORECASE)
_ACRONYM_LENGTH = 5
_FIRST_ROWS = 1 << 12
_MAX_ROWS = 1 << 18
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)

# The table's columns; each hash of a run is order-dependent but for KEY and BAG, which are sums.
KEY, BAG, LEMMAS, FOLDED, EXACT = range(5)
# The table's counts. PLAIN_LETTERS and CAPITALS are of words that are no short form; SHORT_FORM is 2 for one that can be no word
# in capitals, since it has no vowel (CT).
STEMS, LETTERS, PLAIN_LETTERS, CAPITALS, COMMON, GENERAL, ACRONYM, SHORT_FORM, PART, ILL, MISSPELT, TELLING = range(12)
# Kinds of synonyms (`data/synonyms.tsv`), and what each changes of a run's hashes.
_KINDS = {"part": 0, "ill": 1}
SWAPPED = (KEY, BAG)


class WordTable:
    """Rows of words: hashes uint64 [W, 5], counts int64 [W, 12], and what a synonym in its place adds to the hashes KEY and BAG.

    Grows as words are asked for; safe to share by threads. With a speller, a misspelt word has the right one's stems and lemmas.
    """

    def __init__(self, short_forms: frozenset[str] = frozenset(), speller: Speller | None = None) -> None:
        self.hashes: Uint64s = np.zeros((_FIRST_ROWS, 5), np.uint64)
        self.counts: npt.NDArray[np.int64] = np.zeros((_FIRST_ROWS, 12), np.int64)
        self.swaps: Uint64s = np.zeros((_FIRST_ROWS, len(_KINDS), len(SWAPPED)), np.uint64)
        self._rows: dict[str, int] = {}
        self._normalise = Normaliser()
        self._short_forms = short_forms
        self._speller = speller
        self._common = read_words("common_words.txt")
        self._general = frozenset(lemma for word in read_words("general_words.txt") for lemma in self._normalise.lemmas(word))
        self._synonyms = _read_synonyms(self._normalise)
        self._lock = Lock()
        self.marks = _Marks()

    @property
    def full(self) -> bool:
        """Whether the table is full."""
        return len(self._rows) >= _MAX_ROWS

    def rows(self, words: Sequence[str]) -> Ints:
        """The row of each word, int64 [words]; new words get theirs."""
        with self._lock:
            if new := set(words).difference(self._rows):
                self._add(sorted(new))
        return np.fromiter(map(self._rows.__getitem__, words), np.int64, len(words))

    def _add(self, words: list[str]) -> None:
        first, last = len(self._rows), len(self._rows) + len(words)
        while last > len(self.hashes):
            self.hashes = np.concatenate((self.hashes, np.zeros_like(self.hashes)))
            self.counts = np.concatenate((self.counts, np.zeros_like(self.counts)))
            self.swaps = np.concatenate((self.swaps, np.zeros_like(self.swaps)))
        bare = [word[:-1] if word.endswith("s") and is_acronym(word[:-1]) else word for word in words]
        normal = list(map(self._normalise, bare))
        mended = self._mended(words, normal)
        normal = [mended.get(word, known) for word, known in zip(words, normal, strict=True)]
        self.hashes[first:last] = [_hashes(*each) for each in zip(words, bare, normal, strict=True)]
        self.counts[first:last] = [self._counts(*each, each[0] in mended) for each in zip(words, bare, normal, strict=True)]
        for kind, synonyms in enumerate(self._synonyms):
            for row, word in enumerate(normal, first):
                if not synonyms.keys().isdisjoint(word.lemmas):
                    self.swaps[row, kind] = _swap(word, synonyms)
        self.counts[first:last, [PART, ILL]] = self.swaps[first:last].any(axis=2)
        self._rows.update(zip(words, range(first, last), strict=True))

    def _mended(self, words: list[str], normal: list[Word]) -> dict[str, Word]:
        """Of the misspelt words, what is right. Acronyms are not misspelt words."""
        if not self._speller:
            return {}
        asked = [(word, each.stems) for word, each in zip(words, normal, strict=True) if word[1:].islower()]
        found = self._speller.correct([(word.casefold(), stems) for word, stems in asked])
        return {word: self._normalise(right) for (word, _), right in zip(asked, found, strict=True) if right}

    def _counts(self, word: str, bare: str, normal: Word, misspelt: bool) -> tuple[int, ...]:
        """A row of counts but for PART and ILL."""
        folded = word.casefold()
        letters = sum(map(str.isalpha, word)) if normal.lemmas else 0
        short = word in self._short_forms or bare in self._short_forms
        return (
            len(normal.lemmas),
            letters,
            0 if short else letters,
            0 if short else sum(map(str.isupper, word)),
            folded in self._common,
            self._general.issuperset(normal.lemmas) or folded.isdigit(),
            is_acronym(bare),
            short * (1 if _VOWEL.search(bare) else 2),
            0,
            0,
            misspelt,
            may_tell(word),
        )


def _hashes(word: str, bare: str, normal: Word) -> tuple[int, ...]:
    """A row of hashes."""
    lemmas = [hash_of(lemma) for lemma in normal.lemmas]
    in_order = sum(value * pow(_BASE, i, 1 << 64) for i, value in enumerate(lemmas))
    sums = sum(map(hash_of, normal.stems)), sum(lemmas), in_order, hash_of(word.casefold()), hash_of(bare)
    return tuple(value % (1 << 64) for value in sums)


_Synonyms = dict[str, Word]


def _read_synonyms(normalise: Normaliser) -> tuple[_Synonyms, ...]:
    """Of each kind, what may stand in the place of a lemma."""
    found: tuple[_Synonyms, ...] = tuple({} for _ in _KINDS)
    for kind, word, other in read_table("synonyms.tsv"):
        one, two = normalise(word), normalise(other)
        found[_KINDS[kind]][one.lemmas[0]] = two
        if kind == "part":
            found[_KINDS[kind]][two.lemmas[0]] = one
    return found


def _swap(word: Word, synonyms: _Synonyms) -> tuple[int, int]:
    """What putting synonyms in place of its lemmas adds to the sums of a word's stems and lemmas, modulo 2^64."""
    stems = lemmas = 0
    for stem, lemma in zip(word.stems, word.lemmas, strict=True):
        if other := synonyms.get(lemma):
            stems += sum(map(hash_of, other.stems)) - hash_of(stem)
            lemmas += sum(map(hash_of, other.lemmas)) - hash_of(lemma)
    return stems % (1 << 64), lemmas % (1 << 64)


def read_words(file: str) -> frozenset[str]:
    """The words of a file of the package's `data` folder."""
    return frozenset(word for row in read_table(file) for word in row[0].split())


def is_acronym(text: str) -> bool:
    """Whether a word looks like one: up to five characters with two capitals (CT, GGO, SpO2)."""
    return len(text) <= _ACRONYM_LENGTH and sum(map(str.isupper, text)) >= 2


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
        counts: of the table, [T, 12].
        count_sums: their prefix sums, [T + 1, 12].
        sums: prefix sums of the hashes, uint64 [T + 1, 5]; those that depend on order are scaled by their place.
        places: per hash column that depends on order (LEMMAS, FOLDED, EXACT): inverse scale at each word, uint64 [T + 1, 3].
        swaps: prefix sums of what synonyms add to the hashes SWAPPED, by kind, uint64 [T + 1, 2, 2].
        telling: by text, whether a word (stop words too) or mark of it may deny or doubt something, bool.
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
    swaps: Uint64s
    telling: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.content)

    def word(self, position: int) -> str:
        """A content word, as it stands."""
        return self.pieces[2 * int(self.content[position]) + 1]

    def run_hash(self, column: int, first: Ints, end: Ints) -> Uint64s:
        """Hash `column` of the runs of words `first` to `end`, uint64 [runs]."""
        difference: Uint64s = self.sums[end, column] - self.sums[first, column]
        return difference if column < LEMMAS else difference * self.places[first, column - LEMMAS]

    def run_swap(self, kind: int, first: Ints, end: Ints) -> Uint64s:
        """What the synonyms of a kind add to the hashes SWAPPED of the runs of words `first` to `end`, uint64 [runs, 2]."""
        difference: Uint64s = self.swaps[end, kind] - self.swaps[first, kind]
        return difference

    def run_count(self, column: int, first: Ints, end: Ints) -> Ints:
        """Sum of count `column` over the runs of words `first` to `end`, int64 [runs]."""
        difference: Ints = self.count_sums[end, column] - self.count_sums[first, column]
        return difference


def tokenise(texts: Sequence[str], table: WordTable) -> Tokens:
    """The content words of `texts`."""
    text = "\n".join(texts)
    pieces = (_ASCII_WORD if text.isascii() else _WORD).split(text)
    _join(pieces)
    ends = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
    words, gaps = pieces[1::2], pieces[0::2]
    rows = table.rows(words)
    counts = table.counts[rows]
    content = np.flatnonzero(counts[:, STEMS])
    barriers, commas, doubts = _count_marks(gaps, table.marks)
    text_ends = np.cumsum(np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts)))
    telling = np.zeros(len(texts), np.bool_)
    tells = (counts[:, TELLING] > 0) | doubts[:-1] | doubts[1:]
    telling[np.searchsorted(text_ends, ends[0:-1:2][tells], side="right")] = True
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
        np.concatenate((np.zeros((1, *table.swaps.shape[1:]), np.uint64), np.cumsum(table.swaps[rows[content]], axis=0))),
        telling,
    )


def _join(pieces: list[str]) -> None:
    """Makes one word of `post-operative`, `1.5`, `Crohn's`, `Crohn 's`: the pieces keep their number, empty ones fill the gap."""
    for gap in [i for i in range(2, len(pieces) - 2, 2) if pieces[i] in _JOINTS]:
        before, joint, after = pieces[gap - 1 : gap + 2]
        if (
            (joint == "-" and before.lower() in _PREFIXES and len(after) > 2 and after.isalpha())
            or (joint == "." and before.isdecimal() and after.isdecimal())
            or (joint in _APOSTROPHES and after in ("s", "S"))
        ):
            pieces[gap - 1 : gap + 2] = "", "", before + joint + after
            # An empty word stands where the first was: the gap before it stays a gap.


class _Marks(dict[str, int]):
    """What a gap between words holds: a sum of 1 for a comma, 2 for a barrier and 4 for a mark that may deny or doubt."""

    def __missing__(self, gap: str) -> int:
        marks = ("," in gap) + 2 * bool(_BARRIER.search(gap)) + 4 * may_tell_mark(gap)
        if len(self) < _MAX_ROWS:
            self[gap] = marks
        return marks


def _count_marks(gaps: list[str], marks: _Marks) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Barriers and commas before each word, and for each gap whether it may deny or doubt."""
    found = np.fromiter(map(marks.__getitem__, gaps), np.int64, len(gaps))
    return np.cumsum(found[:-1] >> 1 & 1), np.cumsum(found[:-1] & 1), found >> 2 > 0


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
    return np.cumprod(factors, dtype=np.uint64)
