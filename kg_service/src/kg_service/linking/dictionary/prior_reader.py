"""Replaces what names say about runs of words with what a fitted prior says.

Shape legend: R runs that the prior knows, E pairs of run and concept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kg_service.linking.dictionary.candidates import CONFIRMED, LEARNED, Bools, Candidates, Floats, code_of, decoded, runs
from kg_service.linking.dictionary.name_index import find_keys
from kg_service.linking.dictionary.prior import Prior
from kg_service.linking.dictionary.tokens import LEMMAS, Ints, Tokens
from kg_service.storage.csr import ranges
from kg_service.vocabulary.vocabulary import Vocabulary


class PriorReader:
    """Replaces what names say with what a prior says."""

    def __init__(self, prior: Prior, vocabulary: Vocabulary) -> None:
        self._prior = prior
        self.several, self.flat, self.id = prior.several, prior.flat, prior.id
        position = np.searchsorted(vocabulary.concept_cui, prior.cuis)
        position = np.minimum(position, len(vocabulary) - 1)
        self._usable = vocabulary.concept_cui[position] == prior.cuis
        self._concept = position.astype(np.int64)
        odds = prior.odds * prior.shares.astype(float) / np.maximum(1 - prior.shares, 1e-6)
        self._score = np.round(odds / (1 + odds), 4)

    def read(self, tokens: Tokens, found: Candidates, min_score: float) -> Candidates:
        """`found` without the runs that the prior knows, and with what it says of them if that has `min_score` or more."""
        first, end = runs(tokens)
        query, position = find_keys(self._prior.keys, self._prior.seen, tokens.run_hash(LEMMAS, first, end))
        first, end = first[query], end[query]
        named = ~np.isin(code_of(found.first, found.end), code_of(first, end))
        start, stop = (self._prior.rows[position + step].astype(np.int64) for step in (0, 1))
        match = np.repeat(np.arange(len(first)), stop - start)
        row = ranges(start, stop - start)
        kept = self._usable[row]
        match, row = match[kept], row[kept]
        learned = np.zeros(len(first))
        np.maximum.at(learned, match, self._score[row])
        sure = learned >= min_score
        concept = self._concept[row]
        rule = np.where(_named(found, code_of(first, end))[match] == concept, CONFIRMED, LEARNED)
        return _merge(found, named, (first, end, sure), (match, concept, rule, self._score[row]))


def _named(found: Candidates, code: Ints) -> Ints:
    """The concept that each run means by name, -1 where it is none."""
    codes, best = code_of(found.first, found.end), found.concept[found.rows[:-1]]
    if not len(codes):
        return np.full(len(code), -1)
    at = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
    return np.where(codes[at] == code, best[at], -1)


def _merge(
    found: Candidates, named: Bools, runs_of: tuple[Ints, Ints, Bools], learned: tuple[Ints, Ints, Ints, Floats]
) -> Candidates:
    """Named and learned matches in one order."""
    size = np.diff(found.rows)
    inside = np.repeat(named, size)
    match, concept, rule, score = learned
    first, end, sure = runs_of
    taken = sure[match]
    code = np.concatenate((np.repeat(code_of(found.first, found.end), size)[inside], code_of(first, end)[match[taken]]))
    order = np.argsort(code, kind="stable")
    codes, row = np.unique(code[order], return_index=True)

    def joined(old: Any, new: Any) -> Any:
        return np.concatenate((old[inside], new[taken]))[order]

    columns = joined(found.concept, concept), joined(found.rule, rule), joined(found.score, score)
    return Candidates(*decoded(codes), np.append(row, len(code)), *columns)
