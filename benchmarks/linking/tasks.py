"""What is asked of every linker: which texts with which vocabulary, and how its answers score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from corpora import FITTING_DOCUMENTS, Document, VocabularyName, bc5cdr, medmentions, roco, vocabulary
from kg_service.linking.fitting.scoring import Hit, Score, score_documents, score_groups, score_spans, within
from kg_service.vocabulary.semantic_groups import group_types

Corpus = Literal["roco", "bc5cdr", "medmentions"]
Part = Literal["choose", "report"]

QUICK = 100
"""Texts of each part that `--quick` takes."""


class Task(NamedTuple):
    """A corpus, linked with a vocabulary."""

    corpus: Corpus
    vocabulary: VocabularyName


TASKS = (Task("roco", "A"), Task("roco", "B"), Task("bc5cdr", "A"), Task("medmentions", "A"), Task("medmentions", "B"))
_CORPORA: tuple[Corpus, ...] = ("roco", "bc5cdr", "medmentions")
GROUPS = {"anatomy": ("ANAT",), "imaging and procedures": ("PROC",), "disorders": ("DISO",)}
OTHER = "other"


def documents(corpus: Corpus, part: Part, quick: bool = False) -> list[Document]:
    """The texts that settings are chosen on, or those that are reported on.

    MedMentions' choosing part is the last 500 of the documents that may be learned from.
    """
    match corpus, part:
        case "roco", "choose":
            found = roco(4001, 8180)
        case "roco", "report":
            found = roco(1, 4000)
        case "bc5cdr", "choose":
            found = bc5cdr("train")
        case "bc5cdr", "report":
            found = bc5cdr("dev")
        case _, "choose":
            found = medmentions(1636, 2135)
        case _:
            found = medmentions(2136, 2635)
    return found[:QUICK] if quick else found


def unlabelled_texts() -> list[str]:
    """What a linker may learn from without labels: the texts that are not reported on."""
    return [document.text for corpus in _CORPORA for document in labelled_texts(corpus)]


def labelled_texts(corpus: Corpus) -> list[Document]:
    """What a linker may learn from with labels: all that is not reported on."""
    return medmentions(1, FITTING_DOCUMENTS) if corpus == "medmentions" else documents(corpus, "choose")


def choosing_task(task: Task) -> Task:
    """Where the settings for `task` are chosen.

    Vocabulary B has the strings of MedMentions' choosing part, so all is found there; its settings are those of A.
    """
    return Task("medmentions", "A") if task.corpus == "medmentions" else task


def semantic_types(corpus: Corpus) -> tuple[str, ...]:
    """TUIs to link: disorders in BC5CDR, which has no others; else all."""
    return group_types()["DISO"] if corpus == "bc5cdr" else ()


def group_concepts(types: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The reported group of each concept, from its TUIs; a concept of several counts in each."""
    of_tui = {tui: name for name, groups in GROUPS.items() for group in groups for tui in group_types()[group]}
    return {cui: tuple(sorted({of_tui.get(tui, OTHER) for tui in tuis})) for cui, tuis in types.items()}


def score(task: Task, texts: Sequence[Document], hits: Sequence[Sequence[Hit]]) -> dict[str, Score]:
    """Scores by level: `span` and `document`, of captions `document` alone, for ROCO has no spans.

    Those concepts count that the vocabulary has: of the others no linker can know.
    """
    known = within(texts, vocabulary(task.vocabulary))
    spans = {} if task.corpus == "roco" else {"span": score_spans(known, hits)}
    return {**spans, "document": score_documents(known, hits)}


def score_by_group(task: Task, texts: Sequence[Document], hits: Sequence[Sequence[Hit]]) -> dict[str, Score]:
    """Document scores by reported group."""
    known = vocabulary(task.vocabulary)
    return score_groups(within(texts, known), hits, group_concepts({cui: known.semantic_types(cui) for cui in known}))
