"""Mentions and linker scores on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from nbclip.schemas.linking import LinkedCaptionOut, MentionOut
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from kg_service.linking.fitting.evaluation import CurvePoint, Evaluation, Fault, Scores
    from kg_service.linking.fitting.scoring import Score

_COLOURS = {
    "present": "bold green",
    "absent": "bold red strike",
    "uncertain": "bold yellow italic",
    "family": "magenta",
    "history": "cyan",
}
_EXAMPLE_CHARACTERS = 60


def coloured(linked: LinkedCaptionOut) -> Text:
    """The caption, its mentions coloured by assertion."""
    text = Text(linked.caption)
    for mention in linked.mentions:
        text.stylize(_COLOURS[mention.assertion], mention.start, mention.end)
    return text


def mention_table(mentions: Iterable[MentionOut]) -> Table:
    """A table with one row for each mention, and the concepts that lost below it."""
    table = Table(*map(_left, ("text", "CUI", "name", "group", "score", "rule", "assertion")))
    for mention in mentions:
        cells = (mention.text, mention.cui, mention.name, " ".join(mention.groups), f"{mention.score:.2f}", mention.rule)
        table.add_row(*map(Text, cells), Text(mention.assertion, _COLOURS[mention.assertion]))
        for loser in mention.candidates:
            table.add_row("", *map(Text, (loser.cui, loser.name, "", f"{loser.score:.2f}", "lost")), style="dim")
    return table


def score_table(rows: Mapping[str, Score]) -> Table:
    """A table of precision, recall and F1 in percent, with their counts."""
    table = Table("", *(_right(name) for name in ("P", "R", "F1", "right", "found", "labelled")))
    for name, score in rows.items():
        table.add_row(Text(name), *_percent(score), f"{score.right:,}", f"{score.predicted:,}", f"{score.gold:,}")
    return table


def score_rows(scores: Scores, suffix: str = "") -> dict[str, Score]:
    """Scores by the name of their level: captions, spans, all labels."""
    spans = {} if scores.spans is None else {f"spans{suffix}": scores.spans}
    return {f"captions{suffix}": scores.documents, **spans, f"captions, all labels{suffix}": scores.of_all}


def evaluation_tables(evaluation: Evaluation) -> Iterable[Table]:
    """Tables of scores (also by semantic group), of the most frequent faults, and of the curve."""
    yield score_table(score_rows(evaluation.scores) | {f"  {name}": score for name, score in evaluation.groups.items()})
    if evaluation.false_positives:
        yield _fault_table("found, not labelled", evaluation.false_positives)
    if evaluation.false_negatives:
        yield _fault_table("labelled, not found", evaluation.false_negatives)
    if evaluation.curve:
        yield _curve_table(evaluation.curve)


def _fault_table(title: str, faults: Sequence[Fault]) -> Table:
    table = Table(_right("captions"), *map(_left, ("CUI", "name", "words", "such as")), title=title, title_justify="left")
    for fault in faults:
        example = next(iter(fault.examples), "")
        table.add_row(str(fault.count), *map(Text, (fault.cui, fault.name, fault.words, _around(example, fault.words))))
    return table


def _around(caption: str, words: str) -> str:
    """The part of a caption around some words, on one line."""
    line = " ".join(caption.split())
    at = max(line.casefold().find(words), 0) if words else 0
    start = max(0, min(at - _EXAMPLE_CHARACTERS // 3, len(line) - _EXAMPLE_CHARACTERS))
    part = line[start : start + _EXAMPLE_CHARACTERS]
    return f"{'…' if start else ''}{part}{'…' if start + _EXAMPLE_CHARACTERS < len(line) else ''}"


def _curve_table(curve: Sequence[CurvePoint]) -> Table:
    with_spans = any(point.spans is not None for point in curve)
    levels = ("captions", "spans") if with_spans else ("captions",)
    heads = [_right(f"{level} {figure}") for level in levels for figure in ("P", "R", "F1")]
    table = Table("KG_LINKER_MIN_SCORE", *heads, title="score threshold", title_justify="left")
    for point in curve:
        found = (point.documents, point.spans) if point.spans is not None else (point.documents,)
        table.add_row(f"{point.min_score:.2f}", *(cell for score in found for cell in _percent(score)))
    return table


def _percent(score: Score) -> tuple[str, str, str]:
    return f"{100 * score.precision:.1f}", f"{100 * score.recall:.1f}", f"{100 * score.f1:.1f}"


def _left(name: str) -> Column:
    return Column(name, overflow="fold")


def _right(name: str) -> Column:
    return Column(name, justify="right")
