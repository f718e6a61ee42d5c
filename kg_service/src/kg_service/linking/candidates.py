"""Which concepts a run of words can mean, and how well each fits.

The rules, best first: `exact`; `case` (equal but for case); `normalised` (equal lemmas in the same order); `word-order` (equal
lemmas); `stem` and `stem-order` (equal stems only, such as `dilated` and `dilatation`: below the default threshold).

The tie rule, in this order: how exact the rule is (`exact` and `case` count alike); how much the vocabulary knows of the concept
(names and is_a edges, in powers of two), which sets central concepts before stray duplicates; the name's rank (TS, STT,
ISPREF); the source's order; the term type's; the lower CUI.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kg_service.linking.model import LinkCandidate
from kg_service.linking.name_index import NameIndex
from kg_service.linking.normaliser import Normaliser, Word, read_table, strip_name
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.format import RANK_SHIFT
from kg_service.vocabulary.vocabulary import Vocabulary

_SCORES = {"exact": 1.0, "case": 1.0, "normalised": 0.9, "word-order": 0.8, "stem": 0.7, "stem-order": 0.6}
_RANK_COST = 0.01
_ACRONYM_LENGTH = 5
_SHORT_NAME = 3
_MEMO_SIZE = 1 << 18


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text means: the best concept, its semantic groups (a TUI of no group stands for itself), and those that lost."""

    cui: str
    name: str
    rule: str
    score: float
    groups: frozenset[str]
    losers: tuple[LinkCandidate, ...]


class Reader:
    """Reads surface texts as concepts. Holds a bounded memory of texts; answers do not depend on it."""

    def __init__(self, vocabulary: Vocabulary, index: NameIndex, settings: LinkerSettings) -> None:
        self._vocabulary = vocabulary
        self._index = index
        self._settings = settings
        self._common = frozenset(word for row in read_table("common_words.txt") for word in row[0].split())
        self._groups = {tui: group for group, tuis in read_table("semantic_groups.tsv") for tui in tuis.split()}
        self.normalise = Normaliser()
        self._memory: dict[tuple[str, int, bool], Reading | None] = {}

    def read(self, surface: str, position: int, shouting: bool) -> Reading | None:
        """What `surface`, whose key stands at `position` of the index, means; None: nothing that is sure enough.

        Args:
            surface: the text as it stands in the caption.
            position: of its key in the index.
            shouting: the caption is written in capitals, so that case says nothing.
        """
        key = surface, position, shouting
        if key not in self._memory:
            if len(self._memory) >= _MEMO_SIZE:
                self._memory.clear()
            self._memory[key] = self._read(surface, position, shouting)
        return self._memory[key]

    def read_text(self, text: str) -> Reading | None:
        """What a text means whose key is not known yet; case counts."""
        key = sum(word.key for word in self.normalise.words(text)) % 2**64
        _, positions = self._index.find(np.array([key], np.uint64))
        return self.read(text, int(positions[0]), False) if len(positions) else None

    def _read(self, surface: str, position: int, shouting: bool) -> Reading | None:
        ranked = self._rank(surface, position, shouting)
        if not ranked or ranked[0][2] < self._settings.min_score:
            return None
        best, rule, score = ranked[0]
        losers = ranked[1 : self._settings.max_candidates + 1]
        cui, name = self._vocabulary.cui, self._vocabulary.name_at
        groups = frozenset(self._groups.get(tui, tui) for tui in self._vocabulary.semantic_types_at(best))
        candidates = tuple(LinkCandidate(cui(i), name(i), s) for i, _, s in losers)
        return Reading(cui(best), name(best), rule, score, groups, candidates)

    def _rank(self, surface: str, position: int, shouting: bool) -> list[tuple[int, str, float]]:
        """Concepts with rule and score, best first by the tie rule, each once."""
        vocabulary = self._vocabulary
        words = self.normalise.words(surface)
        keyed: list[tuple[float, int, int, int, str]] = []
        for name in self._index.names_at(position):
            rule = self._rule(surface, words, vocabulary.name_text(name), shouting)
            concept = int(vocabulary.name_concept[name])
            if rule and self._is_wanted(concept):
                evidence = vocabulary.evidence_at(concept).bit_length()
                keyed.append((-_SCORES[rule], -evidence, int(vocabulary.name_key[name]), concept, rule))
        best: dict[int, tuple[int, str, float]] = {}
        for negative, _, key, concept, rule in sorted(keyed):
            best.setdefault(concept, (concept, rule, round(-negative - _RANK_COST * (key >> RANK_SHIFT), 4)))
        return list(best.values())

    def _is_wanted(self, concept: int) -> bool:
        wanted = self._settings.semantic_types
        return not wanted or not set(wanted).isdisjoint(self._vocabulary.semantic_types_at(concept))

    def _rule(self, surface: str, words: list[Word], name: str, shouting: bool) -> str | None:
        """How `name` matches `surface`, or None if it does not, or not safely."""
        if not self._case_allows(surface, name, shouting):
            return None
        if surface == name:
            return "exact"
        if surface.casefold() == name.casefold():
            return "case"
        name_words = self.normalise.words(strip_name(name))
        return _order_rule(_lemmas(words), _lemmas(name_words), "normalised", "word-order", surface) or _order_rule(
            _stems(words), _stems(name_words), "stem", "stem-order", surface
        )

    def _case_allows(self, surface: str, name: str, shouting: bool) -> bool:
        """Acronyms match in their own case only; common words never do (`was` is no Wiskott-Aldrich syndrome)."""
        if surface.casefold() in self._common:
            return False
        if is_acronym(name) or len(name) < _SHORT_NAME:
            return surface.removesuffix("s") == name.removesuffix("s")
        return shouting or len(surface) > _SHORT_NAME or not is_acronym(surface)


def _lemmas(words: list[Word]) -> list[str]:
    return [lemma for word in words for lemma in word.lemmas]


def _stems(words: list[Word]) -> list[str]:
    return [stem for word in words for stem in word.stems]


def _order_rule(words: list[str], name_words: list[str], in_order: str, any_order: str, surface: str) -> str | None:
    """Which rule two lists of words meet; across a comma only the same order is safe."""
    if words == name_words:
        return in_order
    return any_order if sorted(words) == sorted(name_words) and "," not in surface else None


def is_acronym(text: str) -> bool:
    """Whether a text looks like one: a single word of up to five characters with two capitals (CT, GGO, SpO2)."""
    return len(text) <= _ACRONYM_LENGTH and not text.count(" ") and sum(map(str.isupper, text)) >= 2
