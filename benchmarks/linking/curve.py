"""Precision and recall over the threshold `min_score`, on the texts that are reported on, and scores by semantic group."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpora import Document, VocabularyName, vocabulary
from kg_service.linking.builder import build_linker
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.fitting.scoring import Hit, Score, hits_of
from tasks import Task, score, score_by_group, semantic_types

THRESHOLDS = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 1.0)
PICTURE = Path(__file__).parents[2] / "docs" / "linking-curve.png"


def draw(texts: dict[str, list[Document]], prior: Callable[[str, VocabularyName], str]) -> None:
    """Prints the points of each corpus, untrained and with a prior, and draws them; then default scores by group."""
    lines: dict[str, list[Score]] = {}
    for corpus, documents in texts.items():
        task = Task(corpus, "A" if corpus == "bc5cdr" else "B")  # type: ignore[arg-type]
        for label, folder in (("untrained", None), ("with a prior", Path(prior(corpus, task.vocabulary)))):
            lines[f"{corpus} {label}"] = [_score(task, documents, min_score=least, prior=folder) for least in THRESHOLDS]
            for least, point in zip(THRESHOLDS, lines[f"{corpus} {label}"], strict=True):
                print(f"{corpus:12} {label:13} min_score {least:4}  {point}", flush=True)
        for label, folder in (("untrained", None), ("with a prior", Path(prior(corpus, task.vocabulary)))):
            for group, point in score_by_group(task, documents, _hits(task, documents, prior=folder)).items():
                print(f"{corpus:12} {label:13} {group:23}  {point}", flush=True)
    _picture(lines)


def _score(task: Task, documents: list[Document], **fields: Any) -> Score:
    return score(task, documents, _hits(task, documents, **fields))["document"]


def _hits(task: Task, documents: list[Document], **fields: Any) -> list[list[Hit]]:
    settings = DictionarySettings(semantic_types=semantic_types(task.corpus), **fields)
    linked = build_linker("dictionary", vocabulary(task.vocabulary), settings).link([document.text for document in documents])
    return [hits_of(one) for one in linked]


def _picture(lines: dict[str, list[Score]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        drawn = [point for point in points if point.predicted]
        style = "--" if name.endswith("untrained") else "-"
        axes.plot([p.recall for p in drawn], [p.precision for p in drawn], style, marker=".", label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), title="concepts per text, over min_score")
    axes.legend(fontsize="small")
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
