"""Scores of a linker on a user's labelled captions, and its faults.

Labels that the linker can't find (concepts that the vocabulary lacks, or of other semantic types) are left out, with the spans
of such concepts alone; what that hides is shown beside it (`Scores.of_all`). All mentions count, negated ones too.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kg_service.linking.dictionary.candidates import wanted_concepts
from kg_service.linking.dictionary.prior import LabelledText
from kg_service.linking.fitting.scoring import (
    Hit,
    Score,
    concepts_of,
    hits_of,
    score_documents,
    score_groups,
    score_spans,
    within,
)
from kg_service.linking.model import Linker
from kg_service.vocabulary.semantic_groups import groups_of
from kg_service.vocabulary.vocabulary import Vocabulary

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_Labelled = TypeVar("_Labelled", bound=LabelledText)
_EXACT_RULES = {"exact", "case"}
_EXAMPLES = 3
_BATCH = 1_000
_HASH_STEPS = 1 << 32


@dataclass(frozen=True, slots=True)
class LabelledCaption:
    """A caption whose concepts are known.

    Attributes:
        text: the caption.
        spans: start, end (code points, end exclusive) and the concepts that are right there; none there: not judged.
        cuis: the concepts of the whole caption.
        has_spans: whether the labels say where; `spans` may be empty then too.
    """

    text: str
    spans: tuple[tuple[int, int, frozenset[str]], ...] = ()
    cuis: frozenset[str] = frozenset()
    has_spans: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """Strict micro-averaged scores.

    Attributes:
        documents: a concept counts once a caption.
        spans: span and concept must be right; None where the labels have no spans.
        of_all: as `documents`, but of all labels, also of those that no linker over this vocabulary can find.
    """

    documents: Score
    spans: Score | None
    of_all: Score


@dataclass(frozen=True, slots=True)
class Fault:
    """A concept that was found where it is not labelled, or missed where it is.

    Attributes:
        cui: the concept.
        name: its preferred name.
        count: captions.
        words: what was most often taken for it; empty where it was missed and the labels have no spans.
        examples: the first such captions.
    """

    cui: str
    name: str
    count: int
    words: str
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Scores at one least score of mentions."""

    min_score: float
    documents: Score
    spans: Score | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` finds; `groups` by UMLS semantic group, `unknown_labels` distinct labels that can't be found."""

    linker: str
    captions: int
    unknown_labels: int
    scores: Scores
    groups: dict[str, Score]
    false_positives: tuple[Fault, ...]
    false_negatives: tuple[Fault, ...]
    curve: tuple[CurvePoint, ...] = ()


def split_by_hash(captions: Sequence[_Labelled], share: float, salt: str = "") -> tuple[list[_Labelled], list[_Labelled]]:
    """Those to learn from and those held out, about `share` of all; equal captions fall on the same side, always.

    A part that this has made can be split again only with another `salt`: with the same one all of it is on one side.
    """
    sides: tuple[list[_Labelled], list[_Labelled]] = ([], [])
    for caption in captions:
        place = int.from_bytes(hashlib.sha256((salt + caption.text).encode()).digest()[:4]) / _HASH_STEPS
        sides[place < share].append(caption)
    return sides


def findable(vocabulary: Vocabulary, semantic_types: tuple[str, ...]) -> Collection[str]:
    """The concepts that a linker with these semantic types can find."""
    wanted = wanted_concepts(vocabulary, semantic_types)
    return vocabulary if wanted is None else {vocabulary.cui(int(i)) for i in wanted.nonzero()[0]}


def score(captions: Sequence[LabelledText], linker: Linker, known: Collection[str], with_spans: bool) -> Scores:
    """Links the captions and scores what is found; `known` are the concepts that can be."""
    return _scores(captions, _link(captions, linker), known, with_spans)


def count_labels(captions: Iterable[LabelledText], known: Collection[str]) -> tuple[int, int]:
    """How many labels, each counted once a caption, are `known` concepts, and how many there are."""
    labels = [cui for caption in captions for cui in _labels(caption)]
    return sum(cui in known for cui in labels), len(labels)


def kept_names(captions: Sequence[LabelledText], before: Linker, after: Linker) -> tuple[int, int]:
    """Of the labelled concepts that `before` finds by an exact name: how many `after` finds in the same caption, and all."""
    kept = named = 0
    texts = [caption.text for caption in captions]
    for caption, one, other in zip(captions, before.link(texts), after.link(texts), strict=True):
        exact = {mention.cui for mention in one.mentions if mention.rule in _EXACT_RULES} & _labels(caption)
        kept += len(exact & {mention.cui for mention in other.mentions})
        named += len(exact)
    return kept, named


def evaluate(
    captions: Sequence[LabelledCaption], vocabulary: Vocabulary, linker: Linker, known: Collection[str], faults: int = 10
) -> Evaluation:
    """Scores of `linker`, by semantic group too, and the `faults` most frequent concepts that it finds or misses wrongly.

    The curve is left empty: see `trace_curve`.
    """
    hits = _link(captions, linker)
    gold = within(captions, known)
    labels = {cui for caption in captions for cui in _labels(caption)}
    met = {cui for cui in labels | {hit.cui for found in hits for hit in found} if cui in known}
    groups = {cui: groups_of(vocabulary.semantic_types(cui)) or ("none",) for cui in met}
    found, missed = _faults(gold, hits, vocabulary, faults)
    scores = _scores(captions, hits, known, any(caption.has_spans for caption in captions))
    unknown = sum(cui not in known for cui in labels)
    return Evaluation(linker.name, len(captions), unknown, scores, score_groups(gold, hits, groups), found, missed)


def trace_curve(
    captions: Sequence[LabelledCaption],
    linker_at: Callable[[float], Linker],
    known: Collection[str],
    thresholds: Iterable[float] = THRESHOLDS,
) -> tuple[CurvePoint, ...]:
    """Precision and recall as the least score of a mention rises.

    Captions are linked anew at each, as the setting would do it: a long name that falls below makes room for those inside it.
    """
    points = []
    for threshold in thresholds:
        scores = score(captions, linker_at(threshold), known, any(caption.has_spans for caption in captions))
        points.append(CurvePoint(threshold, scores.documents, scores.spans))
    return tuple(points)


def _link(captions: Sequence[LabelledText], linker: Linker) -> list[list[Hit]]:
    """By caption, in bounded batches; losers and names are not kept."""
    starts = range(0, len(captions), _BATCH)
    batches = (linker.link([caption.text for caption in captions[start : start + _BATCH]]) for start in starts)
    return [hits_of(linked) for batch in batches for linked in batch]


def _scores(captions: Sequence[LabelledText], hits: Sequence[Sequence[Hit]], known: Collection[str], with_spans: bool) -> Scores:
    gold = within(captions, known)
    return Scores(score_documents(gold, hits), score_spans(gold, hits) if with_spans else None, score_documents(captions, hits))


def _labels(caption: LabelledText) -> set[str]:
    return {cui for *_, cuis in caption.spans for cui in cuis} or set(caption.cuis)


def _faults(
    gold: Sequence[LabelledCaption], hits: Sequence[Sequence[Hit]], vocabulary: Vocabulary, most: int
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """False positives and false negatives of documents, most frequent first, then by CUI."""
    false, missed = _Tally(), _Tally()
    for caption, found in zip(gold, hits, strict=True):
        wanted, predicted = concepts_of(caption, found)
        for cui in predicted - wanted:
            false.add(cui, caption.text, [(hit.start, hit.end) for hit in found if hit.cui == cui])
        for cui in wanted - predicted:
            missed.add(cui, caption.text, [(start, end) for start, end, cuis in caption.spans if cui in cuis])
    return false.worst(vocabulary, most), missed.worst(vocabulary, most)


class _Tally:
    """Counts faults by concept."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._words: dict[str, Counter[str]] = defaultdict(Counter)
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, cui: str, text: str, spans: Sequence[tuple[int, int]]) -> None:
        self._counts[cui] += 1
        self._words[cui].update(text[start:end].casefold() for start, end in spans)
        if len(self._examples[cui]) < _EXAMPLES:
            self._examples[cui].append(text)

    def worst(self, vocabulary: Vocabulary, most: int) -> tuple[Fault, ...]:
        order = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        return tuple(
            Fault(cui, vocabulary.preferred_name(cui), count, self._most_said(cui), tuple(self._examples[cui]))
            for cui, count in order
        )

    def _most_said(self, cui: str) -> str:
        return min(self._words[cui].items(), key=lambda item: (-item[1], item[0]), default=("", 0))[0]
