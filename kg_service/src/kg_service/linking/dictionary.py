"""The default linker: finds the vocabulary's names in captions, deterministically.

Every run of up to eight stems is looked up at once for a batch of captions. Where two matches cross, the longer wins; one
inside a longer one stays unless the settings say otherwise (chest in chest X-ray).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nbclip_shared.schemas import Assertion

from kg_service.linking.abbreviations import find_definitions, find_uses
from kg_service.linking.assertion import assess
from kg_service.linking.candidates import LEARNED, RULES, Bools, Candidates, Reader, wanted_concepts
from kg_service.linking.model import LinkCandidate, LinkedCaption, Mention
from kg_service.linking.name_index import NameIndex
from kg_service.linking.normaliser import read_table
from kg_service.linking.prior import PriorReader, open_prior
from kg_service.linking.settings import LinkerSettings
from kg_service.linking.tokens import CAPITALS, LETTERS, SHORT_FORM, Tokens, WordTable, tokenise
from kg_service.vocabulary.vocabulary import Vocabulary

Span = tuple[int, int]

_BATCH = 512
_SHOUTING_SHARE = 0.7
_SHOUTING_WORDS = 3
_ABBREVIATION_FACTOR = 0.95
_MEMO_SIZE = 1 << 18


class Reading(NamedTuple):
    """What a span means: concept (position in the vocabulary), rule and score; and what lost."""

    concept: int
    rule: str
    score: float
    losers: tuple[LinkCandidate, ...]


_Meaning = tuple[tuple[str, ...], Reading]
"""Words of which the caption must hold one (if any are named), and the reading."""


class DictionaryLinker:
    """Links by normalised names (`candidates.py`), abbreviations and assertion rules."""

    def __init__(self, vocabulary: Vocabulary, index: NameIndex, settings: LinkerSettings) -> None:
        self._vocabulary = vocabulary
        self._settings = settings
        self._nested = settings.nested
        self._reader = Reader(vocabulary, index, settings)
        self._prior = _open_prior(vocabulary, settings)
        self._several = self._prior is not None and self._prior.several
        self._names: dict[int, tuple[str, str]] = {}
        self._candidates: dict[tuple[int, float], LinkCandidate] = {}
        rows = read_table("radiology.tsv")
        self._short_forms = frozenset(row[0] for row in rows)
        self._words = WordTable(self._short_forms)
        self._radiology = self._read_radiology(rows)

    @property
    def name(self) -> str:
        """`dictionary-2`; the number is raised when a caption can get other mentions than before."""
        return "dictionary-2"

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order; a caption's mentions do not depend on its batch."""
        starts = range(0, len(captions), _BATCH)
        return [linked for start in starts for linked in self._link_batch(captions[start : start + _BATCH])]

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose concepts are linked."""
        return self._vocabulary

    def read(self, texts: Sequence[str], min_score: float) -> tuple[Tokens, Candidates]:
        """The words of `texts`, and what runs of them mean by name alone: what a prior is fitted on."""
        tokens = tokenise(texts, self._words)
        return tokens, self._reader.read(tokens, _is_shouting(tokens), min_score)

    def _link_batch(self, captions: Sequence[str]) -> Iterator[LinkedCaption]:
        tokens, shouting, found = self._read(captions)
        matches = _Matches.of(tokens, found)
        cuts = np.searchsorted(found.first, tokens.bounds).tolist()
        short = np.flatnonzero((tokens.counts[:, SHORT_FORM] > 0) & ~shouting)
        short_cuts, short_words = np.searchsorted(short, tokens.bounds).tolist(), short.tolist()
        for i, caption in enumerate(captions):
            readings: dict[Span, Reading | int] = {matches.spans[m]: m for m in range(cuts[i], cuts[i + 1])}
            for word in short_words[short_cuts[i] : short_cuts[i + 1]]:
                span = int(tokens.starts[word]), int(tokens.ends[word])
                if self._is_learned(matches, readings.get(span)):
                    continue
                if meaning := _in_context(self._meanings_of(tokens.word(word)), caption):
                    readings[span] = meaning
            if "(" in caption or "=" in caption or ":" in caption:
                self._read_definitions(caption, matches, readings)
            yield self._link_one(caption, matches, readings)

    def _read(self, texts: Sequence[str]) -> tuple[Tokens, Bools, Candidates]:
        if self._words.full:
            self._words = WordTable(self._short_forms)
        tokens = tokenise(texts, self._words)
        shouting = _is_shouting(tokens)
        found = self._reader.read(tokens, shouting, self._settings.min_score)
        if self._prior:
            found = self._prior.read(tokens, found, self._settings.min_score)
        return tokens, shouting, found

    def _link_one(self, caption: str, matches: _Matches, readings: dict[Span, Reading | int]) -> LinkedCaption:
        chosen = sorted(self._choose(matches, readings), key=_reading_order)
        if self._several:
            meant = [(span, reading) for span, found in chosen for reading in self._meant(matches, found)]
        else:
            meant = [(span, self._reading(matches, found)) for span, found in chosen]
        assertions = assess(caption, [span for span, _ in meant])
        mentions = [self._mention(caption, *hit, assertion) for hit, assertion in zip(meant, assertions, strict=True)]
        return LinkedCaption(caption, tuple(mentions))

    def _choose(self, matches: _Matches, readings: dict[Span, Reading | int]) -> list[tuple[Span, Reading | int]]:
        """The longest of crossing spans, with those inside them if these are wanted; and all that texts have taught."""
        outer: list[Span] = []
        chosen: list[tuple[Span, Reading | int]] = []
        for span, found in sorted(readings.items(), key=_longest_first):
            if self._several and self._is_learned(matches, found):
                chosen.append((span, found))
                continue
            start, end = span
            for other_start, other_end in outer:
                if other_start < end and start < other_end:
                    if self._nested and other_start <= start and end <= other_end:
                        chosen.append((span, found))
                    break
            else:
                outer.append(span)
                chosen.append((span, found))
        return chosen

    def _is_learned(self, matches: _Matches, found: Reading | int | None) -> bool:
        return isinstance(found, int) and matches.rule[matches.rows[found]] == LEARNED

    def _meant(self, matches: _Matches, found: Reading | int) -> Iterator[Reading]:
        """The reading of a span; where a prior says that it brings several concepts, all that are sure enough, by CUI."""
        if not (isinstance(found, int) and self._is_learned(matches, found)):
            yield self._reading(matches, found)
            return
        rows = range(matches.rows[found], matches.rows[found + 1])
        sure = [row for row in rows if matches.score[row] >= self._settings.min_score]
        for row in sorted(sure, key=matches.concept.__getitem__):
            yield Reading(matches.concept[row], RULES[LEARNED], matches.score[row], ())

    def _reading(self, matches: _Matches, found: Reading | int) -> Reading:
        if not isinstance(found, int):
            return found
        best, stop = matches.rows[found], matches.rows[found + 1]
        losers: tuple[LinkCandidate, ...] = ()
        if stop > best + 1:
            stop = min(stop, best + 1 + self._settings.max_candidates)
            losers = tuple([self._candidate(matches.concept[row], matches.score[row]) for row in range(best + 1, stop)])
        return Reading(matches.concept[best], RULES[matches.rule[best]], matches.score[best], losers)

    def _candidate(self, concept: int, score: float) -> LinkCandidate:
        known = self._candidates.get((concept, score))
        if known is None:
            known = LinkCandidate(*self._concept(concept), score)
            _remember(self._candidates, (concept, score), known)
        return known

    def _concept(self, concept: int) -> tuple[str, str]:
        """CUI and preferred name."""
        known = self._names.get(concept)
        if known is None:
            known = self._vocabulary.cui(concept), self._vocabulary.name_at(concept)
            _remember(self._names, concept, known)
        return known

    def _mention(self, caption: str, span: Span, reading: Reading, assertion: Assertion) -> Mention:
        start, end = span
        cui, name = self._concept(reading.concept)
        return Mention(cui, name, caption[start:end], start, end, reading.score, reading.rule, assertion, reading.losers)

    def _read_definitions(self, caption: str, matches: _Matches, readings: dict[Span, Reading | int]) -> None:
        """Adds the short forms that the caption defines.

        One that it defines as something unknown reads as nothing, not as what the vocabulary has for it.
        """
        defined = {definition.short: readings.get((definition.start, definition.end)) for definition in find_definitions(caption)}
        for start, end, short in find_uses(caption, defined) if defined else ():
            found = defined[short]
            if found is None:
                readings.pop((start, end), None)
            else:
                readings[start, end] = _relabel(self._reading(matches, found), "abbreviation")

    def _meanings_of(self, word: str) -> list[_Meaning]:
        return self._radiology.get(word) or self._radiology.get(word.removesuffix("s"), [])

    def _read_radiology(self, rows: list[list[str]]) -> dict[str, list[_Meaning]]:
        """The package's list of abbreviations that captions leave undefined, as far as the vocabulary knows them."""
        meanings: dict[str, list[_Meaning]] = {}
        tokens, _, found = self._read([long_form for _, long_form, *_ in rows])
        matches = _Matches.of(tokens, found)
        whole = {(first, end): m for m, (first, end) in enumerate(zip(found.first.tolist(), found.end.tolist(), strict=True))}
        bounds = tokens.bounds.tolist()
        for i, (short, _, *context) in enumerate(rows):
            if (m := whole.get((bounds[i], bounds[i + 1]))) is not None:
                reading = _relabel(self._reading(matches, m), "radiology-abbreviation")
                meanings.setdefault(short, []).append((tuple(" ".join(context).split()), reading))
        return meanings


@dataclass(frozen=True, slots=True)
class _Matches:
    """Candidates as lists, for what goes on caption by caption."""

    spans: list[Span]
    rows: list[int]
    concept: list[int]
    rule: list[int]
    score: list[float]

    @classmethod
    def of(cls, tokens: Tokens, found: Candidates) -> _Matches:
        spans = zip(tokens.starts[found.first].tolist(), tokens.ends[found.end - 1].tolist(), strict=True)
        score = np.round(found.score, 4).tolist()
        return cls(list(spans), found.rows.tolist(), found.concept.tolist(), found.rule.tolist(), score)


def _open_prior(vocabulary: Vocabulary, settings: LinkerSettings) -> PriorReader | None:
    if not settings.prior:
        return None
    return PriorReader(open_prior(Path(settings.prior)), vocabulary, wanted_concepts(vocabulary, settings.semantic_types))


def _longest_first(item: tuple[Span, Reading | int]) -> tuple[int, int]:
    (start, end), _ = item
    return start - end, start


def _reading_order(item: tuple[Span, Reading | int]) -> tuple[int, int]:
    (start, end), _ = item
    return start, -end


def _is_shouting(tokens: Tokens) -> Bools:
    """By word, whether its text is written in capitals."""
    first, end = tokens.bounds[:-1], tokens.bounds[1:]
    capitals, letters = tokens.run_count(CAPITALS, first, end), tokens.run_count(LETTERS, first, end)
    return np.repeat((capitals > _SHOUTING_SHARE * letters) & (end - first >= _SHOUTING_WORDS), end - first)


def _in_context(meanings: list[_Meaning], caption: str) -> Reading | None:
    folded = caption.casefold()
    return next((reading for context, reading in meanings if not context or any(word in folded for word in context)), None)


def _relabel(reading: Reading, rule: str) -> Reading:
    return reading._replace(rule=rule, score=round(reading.score * _ABBREVIATION_FACTOR, 4))


def _remember(memory: dict[Any, Any], key: object, value: object) -> None:
    if len(memory) >= _MEMO_SIZE:
        memory.clear()
    memory[key] = value
