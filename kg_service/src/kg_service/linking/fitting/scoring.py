"""Strict micro-averaged precision, recall and F1, of spans and of documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

from kg_service.linking.dictionary.prior import LabelledText
from kg_service.linking.model import LinkedCaption

_Labelled = TypeVar("_Labelled", bound=Any)


class Hit(NamedTuple):
    """A predicted concept with its span (code points, end exclusive)."""

    start: int
    end: int
    cui: str


def hits_of(linked: LinkedCaption) -> list[Hit]:
    """What a linker found."""
    return [Hit(mention.start, mention.end, mention.cui) for mention in linked.mentions]


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of what is right, what is predicted and what is in the gold."""

    right: int = 0
    predicted: int = 0
    gold: int = 0

    @property
    def precision(self) -> float:
        """Share of what is predicted that is right; 0 where nothing is."""
        return self.right / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """Share of the gold that is found; 0 where there is none."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        total = self.predicted + self.gold
        return 2 * self.right / total if total else 0.0

    def __add__(self, other: Score) -> Score:
        return Score(self.right + other.right, self.predicted + other.predicted, self.gold + other.gold)

    def __str__(self) -> str:
        return f"F1 {100 * self.f1:.1f}  P {100 * self.precision:.1f}  R {100 * self.recall:.1f}"


def within(documents: Sequence[_Labelled], known: Container[str]) -> list[_Labelled]:
    """The documents (dataclasses) with those labels alone that are `known`; a span that loses all becomes an unmapped one."""
    return [
        replace(
            document,
            spans=tuple((start, end, _known(cuis, known)) for start, end, cuis in document.spans),
            cuis=_known(document.cuis, known),
        )
        for document in documents
    ]


def _known(cuis: Iterable[str], known: Container[str]) -> frozenset[str]:
    return frozenset(cui for cui in cuis if cui in known)


def score_spans(documents: Sequence[LabelledText], hits: Sequence[Collection[Hit]]) -> Score:
    """A hit is right if its span is a gold span and its concept one of those there.

    Gold spans without a concept are left out, and so are hits on them. Of several hits on one span, one can be right.
    """
    return sum((_spans_of(document, found) for document, found in zip(documents, hits, strict=True)), Score())


def _spans_of(document: LabelledText, hits: Collection[Hit]) -> Score:
    gold: dict[tuple[int, int], list[frozenset[str]]] = defaultdict(list)
    for start, end, cuis in document.spans:
        gold[start, end].append(cuis)
    unmapped = {span for span, sets in gold.items() if not any(sets)}
    judged = {hit for hit in hits if (hit.start, hit.end) not in unmapped}
    right = sum(bool(cuis & _cuis_at(judged, span)) for span, sets in gold.items() for cuis in sets)
    return Score(right, len(judged), sum(bool(cuis) for sets in gold.values() for cuis in sets))


def _cuis_at(hits: Iterable[Hit], span: tuple[int, int]) -> set[str]:
    return {hit.cui for hit in hits if (hit.start, hit.end) == span}


def score_documents(documents: Sequence[LabelledText], hits: Sequence[Collection[Hit]]) -> Score:
    """A concept counts once a document, wherever it stands; alternatives at a gold span count as one concept.

    Hits on gold spans without a concept are left out.
    """
    pairs = (concepts_of(document, found) for document, found in zip(documents, hits, strict=True))
    return sum((_set_score(gold, predicted) for gold, predicted in pairs), Score())


def concepts_of(document: LabelledText, hits: Collection[Hit]) -> tuple[set[str], set[str]]:
    """The document's gold and predicted concepts, with the lowest CUI for those that are alternatives of each other."""
    lowest: dict[str, str] = {}
    for _, _, cuis in document.spans:
        for cui in sorted(cuis):
            lowest.setdefault(cui, min(cuis))
    unmapped = {(start, end) for start, end, cuis in document.spans if not cuis}
    gold = {lowest[min(cuis)] for _, _, cuis in document.spans if cuis} or set(document.cuis)
    return gold, {lowest.get(hit.cui, hit.cui) for hit in hits if (hit.start, hit.end) not in unmapped}


def _set_score(gold: Collection[str], predicted: Collection[str]) -> Score:
    return Score(len(set(gold) & set(predicted)), len(predicted), len(gold))


def score_groups(
    documents: Sequence[LabelledText], hits: Sequence[Collection[Hit]], groups: Mapping[str, Collection[str]]
) -> dict[str, Score]:
    """Document scores per semantic group; `groups` gives each concept's, and a concept in two counts in both."""
    scores: dict[str, Score] = defaultdict(Score)
    for document, found in zip(documents, hits, strict=True):
        sides = concepts_of(document, found)
        for group in {name for cuis in sides for cui in cuis for name in groups.get(cui, ())}:
            scores[group] += _set_score(*({cui for cui in cuis if group in groups.get(cui, ())} for cuis in sides))
    return dict(sorted(scores.items()))
