"""Similarities and their explanations on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbclip.schemas.concepts import ConceptRef
from nbclip.schemas.explanations import CommonAncestor, ConceptRelation, Contribution, ExplainResponse, NeighboursResponse
from rich.table import Column, Table
from rich.text import Text

_SIDE_SHOWN = 5


def explanation_lines(answer: ExplainResponse) -> Iterator[str | Table]:
    """The similarity, the concepts of both images, notes, the parts that add up to it, common ancestors and typed relations."""
    yield f"similarity {answer.similarity:.4f} ({answer.representation}, {answer.knowledge}, snapshot {answer.snapshot[:12]}…)"
    if answer.parts:
        yield " + ".join(f"{share:.4f} by {kind}" for kind, share in answer.parts.items())
    for image in (answer.image, answer.other):
        yield f"{image.image_id}: {', '.join(map(_shown, image.concepts)) or 'no concept'}"
    yield from answer.notes
    if answer.contributions:
        yield _contribution_table(answer)
    if answer.nearest_common_ancestors:
        yield _ancestor_table(answer.nearest_common_ancestors)
    if answer.relations:
        yield _relation_table(answer.relations)


def neighbour_table(answer: NeighboursResponse) -> Table:
    """A table with one row for each neighbour."""
    table = Table(_right("similarity"), _left("image"), _left("shared concepts"), title_justify="left")
    for each in answer.neighbours:
        image = Text(each.image_id)
        if each.same_caption:
            image.append("\nsame caption", "dim")
        table.add_row(f"{each.similarity:.4f}", image, Text(_joined(each.shared)))
    return table


def _contribution_table(answer: ExplainResponse) -> Table:
    table = Table(
        _right("share"),
        _left("by"),
        _left("concept"),
        _left(f"through {answer.image.image_id}'s"),
        _left(f"through {answer.other.image_id}'s"),
        show_footer=True,
    )
    for each in answer.contributions:
        sides = (Text(_joined(side)) for side in (each.concepts, each.other_concepts))
        concept = Text(_shown(each.concept)) if each.concept else ""
        table.add_row(f"{each.share:+.4f}", _kind(each), concept, *sides)
    table.columns[0].footer = f"{sum(each.share for each in answer.contributions):+.4f}"
    table.columns[1].footer = "sum"
    return table


def _kind(contribution: Contribution) -> str:
    return f"{contribution.count} smaller parts" if contribution.kind == "rest" else contribution.kind


def _ancestor_table(ancestors: Sequence[CommonAncestor]) -> Table:
    table = Table(
        _left("nearest common ancestor"),
        _right("steps from the first"),
        _right("from the other"),
        _right("share"),
        title_justify="left",
    )
    for each in ancestors:
        share = f"{each.share:+.4f}" if each.share else "none"
        table.add_row(Text(_shown(each)), str(each.steps), str(each.other_steps), share)
    return table


def _relation_table(relations: Sequence[ConceptRelation]) -> Table:
    table = Table(_left("relations by which they meet"), title_justify="left")
    for each in relations:
        table.add_row(Text(f"{_shown(each.subject)} —{each.relation}→ {_shown(each.target)}"))
    return table


def _joined(concepts: Sequence[ConceptRef]) -> str:
    more = f"\n… {len(concepts) - _SIDE_SHOWN} more" if len(concepts) > _SIDE_SHOWN else ""
    return "\n".join(map(_shown, concepts[:_SIDE_SHOWN])) + more


def _shown(concept: ConceptRef) -> str:
    return f"{concept.cui} {concept.name}".rstrip()


def _left(name: str) -> Column:
    return Column(Text(name), overflow="fold")


def _right(name: str) -> Column:
    return Column(Text(name), justify="right")
