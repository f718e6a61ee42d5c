"""Which concepts the runs of words of a batch can mean, and how well each fits.

The rules, best first: `exact`; `case` (equal except for case); `normalised` (equal lemmas in the same order); `word-order` (equal
lemmas); `synonym` (equal lemmas once renal stands for kidney, or damage for disease: `data/synonyms.tsv`); `misspelt` (equal
lemmas once a word is spelt right: `speller.py`); `stem` (equal stems only, such as `dilated` and `dilatation`).

The tie rule, in this order: how exact the rule is (as listed, but `exact` and `case` count alike, and for the headings of MeSH,
which are plurals, `normalised` too); the concept's weight; the name's rank (TS, STT, ISPREF); the precedence of its source and
term type (MRRANK's where the release has it, else the source's order); the lower CUI. The weight is how much the vocabulary
knows of the concept (names and is_a edges, in powers of two), 2 for each of its names that the words could be as exactly, 3 if
one of them is what a source calls the concept, 3 more if that source is MeSH or the Metathesaurus itself: it sets central
concepts before stray duplicates.

Weak readings are kept below the default threshold: one or two general words (`data/general_words.txt`; function words beside
them don't count), an acronym of up to three
letters that neither the text nor radiology's list defines, and a single word for a concept of which the vocabulary says that it
is an entity or a quality and no more.

Shape legend: M matches (a run of words and a key of the index), P pairs of a match and a name, C candidates that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kg_service.linking.dictionary.name_index import PRINTS, NameIndex, fingerprints
from kg_service.linking.dictionary.normaliser import MAX_STEMS
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.dictionary.tokens import (
    ACRONYM,
    BAG,
    COMMON,
    GENERAL,
    ILL,
    KEY,
    LETTERS,
    MISSPELT,
    PART,
    STEMS,
    Ints,
    Tokens,
    Uint64s,
)
from kg_service.storage.csr import pointers, ranges
from kg_service.vocabulary.format import CODE_MASK, RANK_SHIFT, SOURCE_SHIFT
from kg_service.vocabulary.vocabulary import Vocabulary

RULES = ("exact", "case", "normalised", "word-order", "stem", "learned", "synonym", "misspelt", "learned")
NORMALISED, ANY_ORDER, STEM, LEARNED, SYNONYM, MISSPELT_WORD, CONFIRMED = 2, 3, 4, 5, 6, 7, 8
"""Positions in RULES; a prior makes LEARNED, and CONFIRMED where the name says so by itself."""
_SCORES = np.array([1.0, 1.0, 0.9, 0.8, 0.7, 0.0, 0.8, 0.8, 0.0])
_RANK_COST = 0.01
_SHORT_ACRONYM = 3
_GENERAL_WORDS = 2
_WEAK_FACTOR = 0.6
_SHORT_SURFACE = 3
_NAME_WEIGHT, _STANDING_WEIGHT = 2, 3
_PREFERRED = frozenset({"PT", "MH", "PN", "NM", "HT"})
_HEADINGS = frozenset({"MSH", "MTH"})
_VAGUE = ("T051", "T071", "T077", "T078", "T079", "T080", "T081")
"""Event, Entity, Conceptual Entity, Idea or Concept, Temporal, Qualitative and Quantitative Concept."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Candidates:
    """What each match can mean.

    Attributes:
        first: first word of each match, [M].
        end: past its last word, [M].
        rows: the candidates of match m are rows[m] to rows[m + 1], best first, [M + 1].
        concept: position in the vocabulary, [C].
        rule: position in RULES, [C].
        score: in [0, 1], [C].
    """

    first: Ints
    end: Ints
    rows: Ints
    concept: Ints
    rule: Ints
    score: Floats


class Reader:
    """Reads runs of words as concepts."""

    def __init__(self, vocabulary: Vocabulary, index: NameIndex, settings: DictionarySettings) -> None:
        self._vocabulary = vocabulary
        self._index = index
        self._settings = settings
        vague = {tui for tui in _VAGUE if tui not in settings.semantic_types}
        self._vague = np.array([tui in vague for tui in vocabulary.semantic_type_names], np.bool_)
        self._preferred = np.array([term_type in _PREFERRED for term_type in vocabulary.term_types], np.bool_)
        self._heading = np.array([source in _HEADINGS for source in vocabulary.sources], np.bool_)

    def read(self, tokens: Tokens, shouting: Bools, min_score: float) -> Candidates:
        """All matches whose best candidate has `min_score` or more, ordered by first and end.

        Args:
            tokens: of a batch.
            shouting: by word: its text is written in capitals, so that case says nothing, [T].
            min_score: in [0, 1].
        """
        found = self._judge(tokens, shouting, *self._find(tokens))
        first, end, match, pair, rule = self._with_synonyms(tokens, found) if self._settings.synonyms else found
        name = self._index.names[pair]
        concept, key = self._vocabulary.name_concept[name].astype(np.int64), self._vocabulary.name_key[name]
        base = _SCORES[rule] * np.where(self._are_weak(tokens, first, end, match, pair, concept), _WEAK_FACTOR, 1.0)
        preferred = self._preferred[key & CODE_MASK]
        heading = preferred & self._heading[key >> SOURCE_SHIFT & CODE_MASK]
        exactness = np.where(heading & (rule == NORMALISED), base / _SCORES[NORMALISED], base)
        meant = match * len(self._vocabulary) + concept
        weight = self._weight(meant, concept, exactness, preferred.astype(np.int64) + heading)
        order = np.lexsort((concept, key, -weight, rule == SYNONYM, -exactness, match))
        score = np.maximum(exactness - _RANK_COST * (key >> RANK_SHIFT), 0)
        _, best = np.unique(meant[order], return_index=True)
        kept = order[np.sort(best)]
        return _keep(first, end, match[kept], concept[kept], rule[kept], score[kept], min_score)

    def _are_weak(self, tokens: Tokens, first: Ints, end: Ints, match: Ints, pair: Ints, concept: Ints) -> Bools:
        """Which pairs are too weak to be taken for meant."""
        size = end - first
        general = tokens.run_count(GENERAL, first, end) == size
        general &= size - tokens.run_count(COMMON, first, end) <= _GENERAL_WORDS
        few = tokens.run_count(LETTERS, first, end) <= _SHORT_ACRONYM
        weak: Bools = general[match] | (few[match] & self._index.strict[pair])
        vague, sharp = (_have_types(self._vocabulary, concept, of_code) for of_code in (self._vague, ~self._vague))
        weak |= vague & ~sharp & (size == 1)[match]
        return weak

    def _weight(self, meant: Ints, concept: Ints, exactness: Floats, standing: Ints) -> Ints:
        """How central a concept is, how many of its names a match could be, and what these are to their sources."""
        _, at = np.unique(meant, return_inverse=True)
        most, best = np.zeros((2, len(at)))
        np.maximum.at(most, at, exactness)
        top = exactness == most[at]
        np.maximum.at(best, at[top], standing[top].astype(float))
        names = np.bincount(at[top], minlength=len(at))
        weight: Ints = (_NAME_WEIGHT * names + _STANDING_WEIGHT * best.astype(np.int64))[at] + self._index.evidence[concept]
        return weight

    def _with_synonyms(self, tokens: Tokens, found: _Pairs) -> _Pairs:
        """`found` with the runs of several words that are names once synonyms stand in them."""
        first, end, position, bag = self._find_synonyms(tokens)
        match, pair = self._pairs(position)
        kept = (self._index.prints[pair, 0] == fingerprints(bag)[match]) & ~self._index.strict[pair]
        kept &= (tokens.commas[end - 1] == tokens.commas[first])[match]
        match, pair = match[kept], pair[kept]
        codes, at = np.unique(np.concatenate((code_of(found.first, found.end), code_of(first, end))), return_inverse=True)
        old, new = at[: len(found.first)], at[len(found.first) :]
        return _Pairs(
            *decoded(codes),
            np.concatenate((old[found.match], new[match])),
            np.concatenate((found.pair, pair)),
            np.concatenate((found.rule, np.full(len(pair), SYNONYM))),
        )

    def _find_synonyms(self, tokens: Tokens) -> tuple[Ints, Ints, Ints, Uint64s]:
        """Runs in which synonyms make a key of the index: first, end, position in the index, and hash BAG with the synonyms."""
        first, end = runs(tokens)
        part, ill = (tokens.run_count(column, first, end) > 0 for column in (PART, ILL))
        several = (part | ill) & (tokens.run_count(STEMS, first, end) > 1)
        first, end, part, ill = first[several], end[several], part[several], ill[several]
        found = []
        for asked, kinds in ((part, [0]), (ill, [1]), (part & ill, [0, 1])):
            start, stop = first[asked], end[asked]
            swap = sum((tokens.run_swap(kind, start, stop) for kind in kinds), np.zeros((len(start), 2), np.uint64))
            query, position = self._index.find(tokens.run_hash(KEY, start, stop) + swap[:, 0])
            bag = tokens.run_hash(BAG, start, stop) + swap[:, 1]
            found.append((start[query], stop[query], position, bag[query]))
        starts, stops, positions, bags = (np.concatenate(column) for column in zip(*found, strict=True))
        return starts, stops, positions, bags

    def _find(self, tokens: Tokens) -> tuple[Ints, Ints, Ints]:
        """All runs of words within a segment that the index has: first, end, position in the index; ordered."""
        first, end = runs(tokens)
        query, position = self._index.find(tokens.run_hash(KEY, first, end))
        first, end = first[query], end[query]
        never = (end - first == 1) & (tokens.run_count(COMMON, first, end) > 0)
        order = np.lexsort((end, first))
        order = order[~never[order]]
        return first[order], end[order], position[order]

    def _judge(self, tokens: Tokens, shouting: Bools, first: Ints, end: Ints, position: Ints) -> _Pairs:
        """Pairs of match and name that may be meant, with the rule that each meets."""
        index = self._index
        match, pair = self._pairs(position)
        prints = np.stack([fingerprints(tokens.run_hash(column, first, end)) for column in PRINTS], axis=1)
        bag, lemmas, folded, exact = (index.prints[pair] == prints[match]).T
        rule = np.select([exact, folded, lemmas, bag], [0, 1, NORMALISED, ANY_ORDER], STEM)
        misspelt = tokens.run_count(MISSPELT, first, end) > 0
        rule = np.where(misspelt[match] & (rule < STEM), MISSPELT_WORD, rule)
        comma = tokens.commas[end - 1] > tokens.commas[first]
        acronym = (end - first == 1) & (tokens.run_count(ACRONYM, first, end) > 0)
        acronym &= (tokens.run_count(LETTERS, first, end) <= _SHORT_SURFACE) & ~shouting[first]
        strict = index.strict[pair]
        kept = np.where(strict, exact, ~acronym[match]) & ~(comma[match] & (rule >= ANY_ORDER))
        return _Pairs(first, end, match[kept], pair[kept], rule[kept])

    def _pairs(self, position: Ints) -> tuple[Ints, Ints]:
        """Each match with each name of its key: match and position in the index's arrays of names, [P]."""
        starts = self._index.starts[position].astype(np.int64)
        counts = self._index.starts[position + 1] - starts
        return np.repeat(np.arange(len(position)), counts), ranges(starts, counts)


class _Pairs(NamedTuple):
    """Matches (first and end, [M]) and their pairs: match, position in the index's arrays of names, and rule, [P]."""

    first: Ints
    end: Ints
    match: Ints
    pair: Ints
    rule: Ints


def code_of(first: Ints, end: Ints) -> Ints:
    """One number for a run, which orders runs by first and end."""
    return first * 16 + (end - first)


def decoded(code: Ints) -> tuple[Ints, Ints]:
    """First and end of runs, from their codes."""
    return code // 16, code // 16 + code % 16


def runs(tokens: Tokens) -> tuple[Ints, Ints]:
    """First word and end of all runs of up to MAX_STEMS stems that cross no barrier, shortest first."""
    found: list[tuple[Ints, Ints]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for size in range(1, min(MAX_STEMS, len(tokens)) + 1):
        first = np.flatnonzero(tokens.segments[size - 1 :] == tokens.segments[: len(tokens) - size + 1])
        first = first[tokens.run_count(STEMS, first, first + size) <= MAX_STEMS]
        found.append((first, first + size))
    first, end = (np.concatenate(column) for column in zip(*found, strict=True))
    return first, end


def _keep(
    first: Ints, end: Ints, match: Ints, concept: Ints, rule: npt.NDArray[Any], score: Floats, min_score: float
) -> Candidates:
    """Drops the matches without a candidate of `min_score` or more."""
    rows = np.searchsorted(match, np.arange(len(first) + 1))
    best = np.zeros(len(first))
    filled = rows[:-1] < rows[1:]
    best[filled] = score[rows[:-1][filled]]
    kept = filled & (best >= min_score)
    inside = kept[match]
    rows = pointers(np.diff(rows)[kept])
    return Candidates(first[kept], end[kept], rows, concept[inside], rule[inside], score[inside])


def wanted_concepts(vocabulary: Vocabulary, tuis: tuple[str, ...]) -> Bools | None:
    """By concept, whether it has one of `tuis`; None where every concept is wanted."""
    if not tuis:
        return None
    of_code = np.array([tui in tuis for tui in vocabulary.semantic_type_names], np.bool_)
    return _have_types(vocabulary, np.arange(len(vocabulary)), of_code)


def _have_types(vocabulary: Vocabulary, concepts: Ints, of_code: Bools) -> Bools:
    """Which of the concepts (positions) have a semantic type that `of_code` (by its code) says yes to."""
    pointers, codes = vocabulary.type_rows
    start, stop = pointers[concepts], pointers[concepts + 1]
    found = np.zeros(len(concepts), np.bool_)
    for k in range(int((stop - start).max(initial=0))):
        has = np.flatnonzero(start + k < stop)
        found[has] |= of_code[codes[start[has] + k]]
    return found
