"""The default linker: finds the vocabulary's names in captions, deterministically.

Every run of up to eight stems is looked up at once for a batch of captions. Where two matches cross, the longer wins; one
inside a longer one stays if it says something of another kind (chest in chest X-ray). Shape legend: T content tokens of the
batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from nbclip_shared.schemas import Assertion

from kg_service.linking.abbreviations import find_definitions, find_uses
from kg_service.linking.assertion import assess
from kg_service.linking.candidates import Reader, Reading
from kg_service.linking.model import LinkedCaption, Mention
from kg_service.linking.name_index import NameIndex
from kg_service.linking.normaliser import MAX_STEMS, TOKEN, read_table
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary

Span = tuple[int, int]
_Match = tuple[int, int, int]
"""First token, number of tokens, position in the index."""
_Meaning = tuple[tuple[str, ...], Reading]
"""Words of which the caption must hold one (if any are named), and the reading."""

_BATCH = 256
_SHOUTING_SHARE = 0.7
_ABBREVIATION_FACTOR = 0.95


@dataclass(slots=True)
class _Tokens:
    """Content tokens of a batch of captions, end to end: text, span, sum of stem hashes, number of stems, segment."""

    words: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)


class DictionaryLinker:
    """Links by normalised names (`candidates.py`), abbreviations and assertion rules."""

    def __init__(self, vocabulary: Vocabulary, index: NameIndex, settings: LinkerSettings) -> None:
        self._vocabulary = vocabulary
        self._index = index
        self._settings = settings
        self._reader = Reader(vocabulary, index, settings)
        self._radiology = self._read_radiology()

    @property
    def name(self) -> str:
        """`dictionary-1`; the number is raised when a caption can get other mentions than before."""
        return "dictionary-1"

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order; a caption's mentions do not depend on its batch."""
        starts = range(0, len(captions), _BATCH)
        return [linked for start in starts for linked in self._link_batch(captions[start : start + _BATCH])]

    def _link_batch(self, captions: Sequence[str]) -> Iterator[LinkedCaption]:
        tokens = _Tokens()
        bounds = [0]
        for caption in captions:
            self._tokenise(caption, tokens)
            bounds.append(len(tokens.words))
        matches = self._find(tokens)
        cuts = np.searchsorted([first for first, _, _ in matches], bounds).tolist()
        for i, caption in enumerate(captions):
            words = range(bounds[i], bounds[i + 1])
            yield self._link_one(caption, tokens, words, matches[cuts[i] : cuts[i + 1]])

    def _tokenise(self, caption: str, tokens: _Tokens) -> None:
        segment = tokens.segments[-1] + 1 if tokens.segments else 0
        for match in TOKEN.finditer(caption):
            word = match["word"]
            if word is None:
                segment += 1
                continue
            normal = self._reader.normalise(word)
            if normal.stems:
                tokens.words.append(word)
                tokens.starts.append(match.start())
                tokens.ends.append(match.end())
                tokens.keys.append(normal.key)
                tokens.counts.append(len(normal.stems))
                tokens.segments.append(segment)

    def _find(self, tokens: _Tokens) -> list[_Match]:
        """All runs of tokens within a segment that the index has, ordered."""
        key_T = np.array(tokens.keys, np.uint64)
        segment_T = np.array(tokens.segments, np.int64)
        key_sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(key_T, dtype=np.uint64)))
        stem_sums = np.concatenate(([0], np.cumsum(np.array(tokens.counts, np.int64))))
        found: list[_Match] = []
        for size in range(1, min(MAX_STEMS, len(key_T)) + 1):
            together = segment_T[size - 1 :] == segment_T[: len(segment_T) - size + 1]
            first = np.flatnonzero(together & (stem_sums[size:] - stem_sums[:-size] <= MAX_STEMS))
            query, position = self._index.find(key_sums[first + size] - key_sums[first])
            found += zip(first[query].tolist(), [size] * len(query), position.tolist(), strict=True)
        return sorted(found)

    def _link_one(self, caption: str, tokens: _Tokens, words: range, matches: list[_Match]) -> LinkedCaption:
        shouting = _is_shouting(caption)
        readings = self._read_abbreviations(caption, tokens, words, shouting)
        for first, size, key in matches:
            span = tokens.starts[first], tokens.ends[first + size - 1]
            if span not in readings:
                readings[span] = self._reader.read(caption[slice(*span)], key, shouting)
        chosen = self._choose(len(caption), {span: reading for span, reading in readings.items() if reading})
        assertions = assess(caption, [span for span, _ in chosen])
        mentions = [_mention(caption, *hit, assertion) for hit, assertion in zip(chosen, assertions, strict=True)]
        return LinkedCaption(caption, tuple(sorted(mentions, key=lambda mention: (mention.start, -mention.end, mention.cui))))

    def _read_abbreviations(self, caption: str, tokens: _Tokens, words: range, shouting: bool) -> dict[Span, Reading | None]:
        """Readings of short forms: what the caption defines, else what radiology means by them.

        A short form that the caption defines as something unknown reads as nothing, not as what the vocabulary has for it.
        """
        defined = {
            definition.short: _relabel(self._reader.read_text(caption[definition.start : definition.end]), "abbreviation")
            for definition in find_definitions(caption)
        }
        readings = {(start, end): defined[short] for start, end, short in find_uses(caption, defined)} if defined else {}
        for i in words if not shouting else ():
            span = tokens.starts[i], tokens.ends[i]
            if tokens.words[i] in self._radiology and span not in readings:
                meaning = _in_context(self._radiology[tokens.words[i]], caption)
                if meaning:
                    readings[span] = meaning
        return readings

    def _read_radiology(self) -> dict[str, list[_Meaning]]:
        """The package's list of abbreviations that captions leave undefined, as far as the vocabulary knows them."""
        meanings: dict[str, list[_Meaning]] = {}
        for short, long_form, *context in read_table("radiology.tsv"):
            if reading := _relabel(self._reader.read_text(long_form), "radiology-abbreviation"):
                meanings.setdefault(short, []).append((tuple(" ".join(context).split()), reading))
        return meanings

    def _choose(self, length: int, readings: dict[Span, Reading]) -> list[tuple[Span, Reading]]:
        """The longest of crossing spans; those inside another stay if they share no semantic group with it."""
        owner: list[Reading | None] = [None] * length
        chosen: list[tuple[Span, Reading]] = []
        for start, end in sorted(readings, key=lambda span: (span[0] - span[1], span)):
            reading, outer = readings[start, end], owner[start]
            if any(other is not outer for other in owner[start:end]):
                continue
            if outer is None:
                owner[start:end] = [reading] * (end - start)
                chosen.append(((start, end), reading))
            elif self._settings.nested and reading.groups.isdisjoint(outer.groups):
                chosen.append(((start, end), reading))
        return chosen


def _mention(caption: str, span: Span, reading: Reading, assertion: Assertion) -> Mention:
    text = caption[slice(*span)]
    return Mention(reading.cui, reading.name, text, *span, reading.score, reading.rule, assertion, reading.losers)


def _is_shouting(caption: str) -> bool:
    letters = sum(map(str.isalpha, caption))
    return sum(map(str.isupper, caption)) > _SHOUTING_SHARE * letters and len(caption.split()) > 2


def _in_context(meanings: list[_Meaning], caption: str) -> Reading | None:
    folded = caption.casefold()
    return next((reading for context, reading in meanings if not context or any(word in folded for word in context)), None)


def _relabel(reading: Reading | None, rule: str) -> Reading | None:
    return reading and replace(reading, rule=rule, score=round(reading.score * _ABBREVIATION_FACTOR, 4))
