"""The default linker: finds the vocabulary's names in captions, deterministically.

Every run of up to eight stems is looked up at once for a batch of captions. Where two matches cross, the longer wins; which of
those inside a longer one stay is a setting (`settings.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, reduce
from itertools import repeat
from operator import or_
from typing import Any, NamedTuple

import numpy as np
from nbclip.schemas.linking import Assertion

from kg_service.linking.assertion import assess_plain
from kg_service.linking.dictionary.abbreviations import Definition, find_definitions, find_uses
from kg_service.linking.dictionary.candidates import (
    CONFIRMED,
    LEARNED,
    RULES,
    Bools,
    CandidateReader,
    Candidates,
    Floats,
    wanted_concepts,
)
from kg_service.linking.dictionary.name_index import NameIndex
from kg_service.linking.dictionary.prior import Prior, open_prior
from kg_service.linking.dictionary.prior_reader import PriorReader
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.dictionary.short_forms import Context, Surroundings, read_context
from kg_service.linking.dictionary.speller import Speller
from kg_service.linking.dictionary.tokens import CAPITALS, PLAIN_LETTERS, SHORT_FORM, Ints, Tokens, WordTable, tokenise
from kg_service.linking.languages import languages_of
from kg_service.linking.model import LinkCandidate, LinkedCaption, Mention
from kg_service.linking.plain_text import PlainText, read_plain
from kg_service.linking.tables import read_table
from kg_service.vocabulary.semantic_groups import group_types
from kg_service.vocabulary.vocabulary import Vocabulary

Span = tuple[int, int]

VERSION = "dictionary-6"
"""The number is raised when a caption can get other mentions than before."""
_HASHED_ALIKE = frozenset({"dictionary-5"})
"""Versions that hash words as this one does, so that it reads their priors."""

_BATCH = 512
_SHOUTING_SHARE = 0.7
_SHOUTING_LETTERS = 12
_ABBREVIATION_FACTOR = 0.95
_MEMO_SIZE = 1 << 18
_MIX = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93], np.uint64)
"""Odd factors of splitmix64 (Steele, Lea and Flood, 2014) and one more."""


class Reading(NamedTuple):
    """What a span means, and what lost; `concept` is a position in the vocabulary.

    `groups`: bits of its semantic groups but anatomy, of which none keeps a mention out of another's.
    `taught`: of a prior fitted on texts without spans, all readings that the span brings.
    `own`: whether the concept is what the words mean by name.
    """

    concept: int
    cui: str
    name: str
    rule: str
    score: float
    losers: tuple[LinkCandidate, ...]
    groups: int
    taught: tuple[Reading, ...] = ()
    own: bool = True

    @property
    def is_learned(self) -> bool:
        """Whether labelled texts have taught it."""
        return self.rule == RULES[LEARNED]


_Meaning = tuple[Context, Reading]
_Readings = list[tuple[Span, Reading]]


class DictionaryLinker:
    """Links by normalised names (`candidates.py`), abbreviations and assertion rules."""

    def __init__(
        self, vocabulary: Vocabulary, index: NameIndex, settings: DictionarySettings, prior: Prior | None = None
    ) -> None:
        """With `prior`, or else the saved one that the settings name."""
        self._vocabulary = vocabulary
        self._index = index
        self._settings = settings
        self._languages = languages_of(vocabulary)
        self._nested = settings.nested == "all"
        self._reader = CandidateReader(vocabulary, index, settings)
        self._wanted = wanted_concepts(vocabulary, settings.semantic_types)
        self._prior = _read_prior(prior or _open_prior(vocabulary, settings), vocabulary)
        self._distinct = settings.nested == "distinct" and not (self._prior and self._prior.flat)
        self._several = self._prior is not None and self._prior.several
        self._names: dict[int, tuple[str, str]] = {}
        self._memory: dict[int, Reading] = {}
        rows = read_table("radiology.tsv")
        self._short_forms = frozenset(row[0] for row in rows)
        self._speller = Speller(index.stems, index.deletions, index.deleted, vocabulary.words) if settings.misspellings else None
        self._words = WordTable(self._short_forms, self._speller)
        self._radiology = self._read_radiology(rows)

    @property
    def name(self) -> str:
        """Such as `dictionary-6`, with a prior `dictionary-6+prior:ab12cd34`."""
        return f"{VERSION}+prior:{self._prior.id}" if self._prior else VERSION

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order; a caption's mentions do not depend on its batch."""
        starts = range(0, len(captions), _BATCH)
        return [linked for start in starts for linked in self._link_batch(captions[start : start + _BATCH])]

    def with_prior(self, prior: Prior) -> DictionaryLinker:
        """This linker with another prior, saved or not."""
        return DictionaryLinker(self._vocabulary, self._index, self._settings, prior)

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose concepts are linked."""
        return self._vocabulary

    def read(self, texts: Sequence[str], min_score: float) -> tuple[Tokens, Candidates]:
        """The words of `texts`, and what runs of them mean by name alone: what a prior is fitted on."""
        plain = list(map(read_plain, texts))
        tokens = tokenise([each.text for each in plain], self._words)
        return _outer(tokens, plain), self._reader.read(tokens, _is_shouting(tokens), min_score)

    def _link_batch(self, captions: Sequence[str]) -> Iterator[LinkedCaption]:
        plain = list(map(read_plain, captions))
        tokens, shouting, found = self._read([each.text for each in plain])
        readings = self._readings(tokens, found)
        cuts = np.searchsorted(found.first, tokens.bounds).tolist()
        firsts = _clusters(found)
        cluster_cuts, clusters = np.searchsorted(firsts, cuts).tolist(), [*firsts.tolist(), len(readings)]
        short = np.flatnonzero(tokens.counts[:, SHORT_FORM] > shouting)
        short_cuts, short_words = np.searchsorted(short, tokens.bounds).tolist(), short.tolist()
        telling = tokens.telling.tolist()
        for i, caption in enumerate(captions):
            text = plain[i].text
            shorts = short_words[short_cuts[i] : short_cuts[i + 1]]
            defined = find_definitions(text) if "(" in text or "=" in text or ":" in text else []
            if shorts or defined:
                by_span = self._with_short_forms(text, tokens, shorts, dict(readings[cuts[i] : cuts[i + 1]]))
                chosen = self._choose(_with_definitions(text, defined, by_span).items())
            else:
                chosen = []
                for c in range(cluster_cuts[i], cluster_cuts[i + 1]):
                    cluster = readings[clusters[c] : clusters[c + 1]]
                    chosen += cluster if len(cluster) == 1 else self._choose(cluster)
            if self._several:
                chosen = _at_own_names((span, one) for span, reading in chosen for one in reading.taught or (reading,))
            if self._wanted is not None:
                chosen = [(span, reading) for span, reading in chosen if self._wanted[reading.concept]]
            yield _linked(caption, plain[i], chosen, self._languages if telling[i] else ())

    def _read(self, texts: Sequence[str]) -> tuple[Tokens, Bools, Candidates]:
        if self._words.full:
            self._words = WordTable(self._short_forms, self._speller)
        tokens = tokenise(texts, self._words)
        shouting = _is_shouting(tokens)
        found = self._reader.read(tokens, shouting, self._settings.min_score)
        if self._prior:
            found = self._prior.read(tokens, found, self._settings.min_score)
        return tokens, shouting, found

    def _choose(self, readings: Iterable[tuple[Span, Reading]]) -> _Readings:
        """The longest of crossing spans, with those inside them that may nest; and all that texts have taught."""
        chosen: _Readings = []
        # The outer ones by start. None of them touch, and what follows is no longer: it lies in one, crosses them, or is new.
        outer: _Readings = []
        starts: list[int] = []
        for item in sorted(readings, key=_longest_first):
            (start, end), reading = item
            if self._several and reading.is_learned:
                chosen.append(item)
                continue
            at = bisect_right(starts, start)
            if at < len(starts) and starts[at] < end:
                continue
            (_, high), other = outer[at - 1] if at else ((0, 0), reading)
            if high <= start:
                outer.insert(at, item)
                starts.insert(at, start)
                chosen.append(item)
            elif end <= high and self._may_nest(reading, other):
                chosen.append(item)
        chosen.sort(key=_reading_order)
        return chosen

    def _may_nest(self, inner: Reading, outer: Reading) -> bool:
        """Whether a mention is kept inside another."""
        return self._nested or (self._distinct and inner.concept != outer.concept and not inner.groups & outer.groups)

    def _readings(self, tokens: Tokens, found: Candidates) -> _Readings:
        """Each match's span and reading. Equal candidates make equal readings, which are remembered."""
        score = np.round(found.score, 4)
        spans = zip(tokens.starts[found.first].tolist(), tokens.ends[found.end - 1].tolist(), strict=True)
        read: list[Reading] = []
        for m, identity in enumerate(_identities(found, score)):
            reading = self._memory.get(identity)
            if reading is None:
                rows = slice(int(found.rows[m]), int(found.rows[m + 1]))
                columns = found.concept[rows].tolist(), found.rule[rows].tolist(), score[rows].tolist()
                reading = self._reading(list(zip(*columns, strict=True)))
                _remember(self._memory, identity, reading)
            read.append(reading)
        return list(zip(spans, read, strict=True))

    def _reading(self, rows: list[tuple[int, int, float]]) -> Reading:
        """What candidates (concept, rule and score, best first) come to."""
        (concept, rule, score), *others = rows
        losers = others[: self._settings.candidates]
        taught: tuple[Reading, ...] = ()
        if self._several and rule in (LEARNED, CONFIRMED):
            sure = sorted(row for row in rows if row[2] >= self._settings.min_score)
            taught = tuple(
                Reading(concept, *self._concept(concept), RULES[rule], score, (), 0, (), rule == CONFIRMED)
                for concept, rule, score in sure
            )
        candidates = tuple(LinkCandidate(*self._concept(concept), score) for concept, _, score in losers)
        groups = reduce(or_, (_group_bits().get(tui, 0) for tui in self._vocabulary.semantic_types_at(concept)), 0)
        return Reading(concept, *self._concept(concept), RULES[rule], score, candidates, groups, taught)

    def _concept(self, concept: int) -> tuple[str, str]:
        """CUI and preferred name."""
        known = self._names.get(concept)
        if known is None:
            known = self._vocabulary.cui(concept), self._vocabulary.name_at(concept)
            _remember(self._names, concept, known)
        return known

    def _with_short_forms(
        self, caption: str, tokens: Tokens, words: list[int], readings: dict[Span, Reading]
    ) -> dict[Span, Reading]:
        """`readings` with those of radiology's abbreviations, but for what texts have taught."""
        surroundings = Surroundings(caption)
        for word in words:
            span = int(tokens.starts[word]), int(tokens.ends[word])
            if (known := readings.get(span)) and known.is_learned:
                continue
            if reading := surroundings.choose(self._meanings_of(tokens.word(word)), span[0]):
                readings[span] = reading
        return readings

    def _meanings_of(self, word: str) -> list[_Meaning]:
        return self._radiology.get(word) or self._radiology.get(word.removesuffix("s"), [])

    def _read_radiology(self, rows: list[list[str]]) -> dict[str, list[_Meaning]]:
        """The package's list of abbreviations that captions leave undefined, as far as the vocabulary knows them."""
        meanings: dict[str, list[_Meaning]] = {}
        tokens, _, found = self._read([long_form for _, long_form, *_ in rows])
        readings = self._readings(tokens, found)
        whole = {(first, end): m for m, (first, end) in enumerate(zip(found.first.tolist(), found.end.tolist(), strict=True))}
        bounds = tokens.bounds.tolist()
        for i, (short, _, *context) in enumerate(rows):
            if (m := whole.get((bounds[i], bounds[i + 1]))) is not None:
                reading = _relabel(readings[m][1], "radiology-abbreviation")
                meanings.setdefault(short, []).append((read_context(" ".join(context)), reading))
        return meanings


def _linked(caption: str, plain: PlainText, readings: _Readings, languages: Sequence[str]) -> LinkedCaption:
    """The caption with the mentions of its plain text; all are present if it is read in no language: no word of it tells."""
    spans = [span for span, _ in readings]
    assertions: Iterable[Assertion] = assess_plain(plain.text, spans, languages) if languages else repeat("present")
    if plain.sources is not None:
        spans = [plain.outer(*span) for span in spans]
    mentions = [
        Mention(reading.cui, reading.name, caption[start:end], start, end, reading.score, reading.rule, assertion, reading.losers)
        for (start, end), (_, reading), assertion in zip(spans, readings, assertions, strict=False)
    ]
    return LinkedCaption(caption, tuple(mentions))


def _outer(tokens: Tokens, plain: Sequence[PlainText]) -> Tokens:
    """The tokens of plain texts, where they stand in the originals."""
    changed = [i for i, each in enumerate(plain) if each.sources is not None]
    if not changed:
        return tokens
    starts, ends = tokens.starts.copy(), tokens.ends.copy()
    for i in changed:
        words, sources = slice(int(tokens.bounds[i]), int(tokens.bounds[i + 1])), np.array(plain[i].sources)
        starts[words], ends[words] = sources[starts[words]], sources[ends[words] - 1] + 1
    return replace(tokens, starts=starts, ends=ends)


def _at_own_names(readings: Iterable[tuple[Span, Reading]]) -> _Readings:
    """Without what other words bring of a concept that the caption calls by name: that says whether it is there."""
    chosen = list(readings)
    named = {reading.concept for _, reading in chosen if reading.own}
    return [(span, reading) for span, reading in chosen if reading.own or reading.concept not in named]


def _with_definitions(caption: str, definitions: list[Definition], readings: dict[Span, Reading]) -> dict[Span, Reading]:
    """`readings` with those of the short forms that the caption defines.

    One that it defines as something unknown reads as nothing, not as what the vocabulary has for it.
    """
    defined = {definition.short: readings.get((definition.start, definition.end)) for definition in definitions}
    for start, end, short in find_uses(caption, defined) if defined else ():
        if reading := defined[short]:
            readings[start, end] = _relabel(reading, "abbreviation")
        else:
            readings.pop((start, end), None)
    return readings


def _clusters(found: Candidates) -> Ints:
    """The first match of each group of matches that share words with no other group."""
    reach = np.maximum.accumulate(found.end)
    return np.flatnonzero(np.concatenate(([True], found.first[1:] >= reach[:-1]))) if len(reach) else np.zeros(0, np.int64)


def _identities(found: Candidates, score: Floats) -> list[int]:
    """A number for each match that is the same where its candidates, with rules and scores, are: 64 bits of a hash."""
    value = found.concept.astype(np.uint64) * _MIX[0] + found.rule.astype(np.uint64) * _MIX[1]
    value += np.rint(score * 10_000).astype(np.uint64) * _MIX[2]
    place = np.arange(len(value)) - np.repeat(found.rows[:-1], np.diff(found.rows))
    value ^= (place + 1).astype(np.uint64) * _MIX[3]
    for shift, factor in ((30, _MIX[1]), (27, _MIX[2])):
        value = (value ^ (value >> np.uint64(shift))) * factor
    value ^= value >> np.uint64(31)
    identities: list[int] = np.add.reduceat(value, found.rows[:-1]).tolist() if len(value) else []
    return identities


@cache
def _group_bits() -> dict[str, int]:
    """A bit for the semantic group of each TUI; none for anatomy."""
    groups = enumerate(group_types().items())
    return {tui: 1 << bit for bit, (group, tuis) in groups if group != "ANAT" for tui in tuis}


def _open_prior(vocabulary: Vocabulary, settings: DictionarySettings) -> Prior | None:
    return open_prior(settings.prior, vocabulary, VERSION, _HASHED_ALIKE) if settings.prior else None


def _read_prior(prior: Prior | None, vocabulary: Vocabulary) -> PriorReader | None:
    return PriorReader(prior, vocabulary) if prior else None


def _longest_first(item: tuple[Span, Reading]) -> tuple[int, int]:
    (start, end), _ = item
    return start - end, start


def _reading_order(item: tuple[Span, Reading]) -> tuple[int, int]:
    (start, end), _ = item
    return start, -end


def _is_shouting(tokens: Tokens) -> Bools:
    """By word, whether its text is written in capitals; radiology's short forms, which always are, don't count."""
    first, end = tokens.bounds[:-1], tokens.bounds[1:]
    capitals, letters = tokens.run_count(CAPITALS, first, end), tokens.run_count(PLAIN_LETTERS, first, end)
    return np.repeat((capitals > _SHOUTING_SHARE * letters) & (letters >= _SHOUTING_LETTERS), end - first)


def _relabel(reading: Reading, rule: str) -> Reading:
    return reading._replace(rule=rule, score=round(reading.score * _ABBREVIATION_FACTOR, 4))


def _remember(memory: dict[Any, Any], key: object, value: object) -> None:
    if len(memory) >= _MEMO_SIZE:
        memory.clear()
    memory[key] = value
