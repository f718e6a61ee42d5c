"""Which concepts the runs of words of a batch can mean, and how well each fits.

The rules, best first: `exact`; `case` (equal but for case); `normalised` (equal lemmas in the same order); `word-order` (equal
lemmas); `stem` (equal stems only, such as `dilated` and `dilatation`).

The tie rule, in this order: how exact the rule is (`exact` and `case` count alike); how much the vocabulary knows of the concept
(names and is_a edges, in powers of two) and how many of its names the words could be, which sets central concepts before stray
duplicates; the name's rank (TS, STT, ISPREF); the source's order; the term type's; the lower CUI.

Shape legend: M matches (a run of words and a key of the index), P pairs of a match and a name, C candidates that are left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kg_service.linking.name_index import PRINTS, NameIndex, fingerprints
from kg_service.linking.normaliser import MAX_STEMS
from kg_service.linking.settings import LinkerSettings
from kg_service.linking.tokens import ACRONYM, COMMON, GENERAL, KEY, LETTERS, STEMS, Ints, Tokens
from kg_service.vocabulary.format import RANK_SHIFT
from kg_service.vocabulary.vocabulary import Vocabulary

RULES = ("exact", "case", "normalised", "word-order", "stem", "learned")
LEARNED = 5
_SCORES = np.array([1.0, 1.0, 0.9, 0.8, 0.7])
_ANY_ORDER = 3
_RANK_COST = 0.01
_SHORT_ACRONYM = 2
_WEAK_FACTOR = 0.6
_SHORT_SURFACE = 3
_NAME_WEIGHT = 2

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

    def __init__(self, vocabulary: Vocabulary, index: NameIndex, settings: LinkerSettings) -> None:
        self._vocabulary = vocabulary
        self._index = index
        self._wanted = wanted_concepts(vocabulary, settings.semantic_types)

    def read(self, tokens: Tokens, shouting: Bools, min_score: float) -> Candidates:
        """All matches whose best candidate has `min_score` or more, ordered by first and end.

        Args:
            tokens: of a batch.
            shouting: by word: its text is written in capitals, so that case says nothing, [T].
            min_score: in [0, 1].
        """
        first, end, position = self._find(tokens)
        match, pair, rule = self._judge(tokens, shouting, first, end, position)
        general = tokens.run_count(GENERAL, first, end) == end - first
        # Two letters mean too many things to be read without a definition.
        few = tokens.run_count(LETTERS, first, end) <= _SHORT_ACRONYM
        weak = general[match] | (few[match] & self._index.strict[pair])
        name = self._index.names[pair]
        concept, key = self._vocabulary.name_concept[name].astype(np.int64), self._vocabulary.name_key[name]
        base = _SCORES[rule] * np.where(weak, _WEAK_FACTOR, 1.0)
        meant = match * len(self._vocabulary) + concept
        order = np.lexsort((concept, key, -self._weight(meant, concept), -base, match))
        score = np.maximum(base - _RANK_COST * (key >> RANK_SHIFT), 0)
        _, best = np.unique(meant[order], return_index=True)
        kept = order[np.sort(best)]
        return _keep(first, end, match[kept], concept[kept], rule[kept], score[kept], min_score)

    def _weight(self, meant: Ints, concept: Ints) -> Ints:
        """How central a concept is, and how many of its names a match could be."""
        _, inverse, names = np.unique(meant, return_inverse=True, return_counts=True)
        return self._index.evidence[concept].astype(np.int64) + _NAME_WEIGHT * names[inverse]

    def _find(self, tokens: Tokens) -> tuple[Ints, Ints, Ints]:
        """All runs of words within a segment that the index has: first, end, position in the index; ordered."""
        first, end = runs(tokens)
        query, position = self._index.find(tokens.run_hash(KEY, first, end))
        first, end = first[query], end[query]
        never = (end - first == 1) & (tokens.run_count(COMMON, first, end) > 0)
        order = np.lexsort((end, first))
        order = order[~never[order]]
        return first[order], end[order], position[order]

    def _judge(
        self, tokens: Tokens, shouting: Bools, first: Ints, end: Ints, position: Ints
    ) -> tuple[Ints, Ints, npt.NDArray[np.int64]]:
        """Pairs of match and name that may be meant, with the rule that each meets."""
        index = self._index
        starts = index.starts[position].astype(np.int64)
        counts = index.starts[position + 1] - starts
        match = np.repeat(np.arange(len(first)), counts)
        pair = np.arange(len(match)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        prints = np.stack([fingerprints(tokens.run_hash(column, first, end)) for column in PRINTS], axis=1)
        bag, lemmas, folded, exact = (index.prints[pair] == prints[match]).T
        rule = np.select([exact, folded, lemmas, bag], [0, 1, 2, 3], 4)
        comma = tokens.commas[end - 1] > tokens.commas[first]
        acronym = (end - first == 1) & (tokens.run_count(ACRONYM, first, end) > 0)
        acronym &= (tokens.run_count(LETTERS, first, end) <= _SHORT_SURFACE) & ~shouting[first]
        strict = index.strict[pair]
        kept = np.where(strict, exact, ~acronym[match]) & ~(comma[match] & (rule >= _ANY_ORDER))
        if self._wanted is not None:
            kept &= self._wanted[self._vocabulary.name_concept[index.names[pair]]]
        return match[kept], pair[kept], rule[kept]


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
    rows = np.concatenate(([0], np.cumsum(np.diff(rows)[kept])))
    return Candidates(first[kept], end[kept], rows, concept[inside], rule[inside], score[inside])


def wanted_concepts(vocabulary: Vocabulary, tuis: tuple[str, ...]) -> Bools | None:
    """By concept, whether it has one of `tuis`; None where every concept is wanted."""
    if not tuis:
        return None
    pointers, codes = vocabulary.type_rows
    of_code = np.array([tui in tuis for tui in vocabulary.semantic_type_names], np.bool_)
    wanted = np.zeros(len(vocabulary), np.bool_)
    wanted[np.repeat(np.arange(len(vocabulary)), np.diff(pointers))[of_code[codes]]] = True
    return wanted
