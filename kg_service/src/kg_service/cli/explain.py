"""`kg-service explain` and `neighbours`: how similar images are in a snapshot, and why."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from nbclip.ids import check_image_id
from nbclip.schemas.explanations import MAX_CONTRIBUTIONS, MAX_NEIGHBOURS
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge

from kg_service.cli.options import Data, VocabularyFolder, settings_of
from kg_service.cli.shown.console import stdout
from kg_service.cli.shown.explanations import explanation_lines, neighbour_table

SnapshotOption = Annotated[str | None, typer.Option(help="Snapshot id; default: the current one.")]
KnowledgeOption = Annotated[Knowledge, typer.Option(help="dk_ek: with is_a; dk: without it; noise: the control.")]
RepresentationOption = Annotated[str, typer.Option(help="A representation the snapshot holds.")]


def explain(
    image_id: Annotated[str, typer.Argument(metavar="A", help="Image id.")],
    other_id: Annotated[str, typer.Argument(metavar="B", help="Id of the other image.")],
    snapshot: SnapshotOption = None,
    knowledge: KnowledgeOption = "dk_ek",
    representation: RepresentationOption = DEFAULT_REPRESENTATION,
    limit: Annotated[int, typer.Option(min=1, max=MAX_CONTRIBUTIONS, help="Number of parts to list.")] = 20,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    json: Annotated[bool, typer.Option("--json", help="Print what `POST /v1/explain` answers.")] = False,
) -> None:
    """Show why two images are similar: parts that add up to their similarity in the targets.

    `kg-service explain RM_00001 RM_00002`
    """
    from kg_service.app.wiring import Wiring
    from kg_service.snapshot import explain as explain_pair

    with closing(Wiring(settings_of(data=data, vocabulary=vocabulary))) as wiring:
        answer = explain_pair(
            wiring.snapshots.open(snapshot),
            check_image_id(image_id),
            check_image_id(other_id),
            knowledge=knowledge,
            representation=representation,
            limit=limit,
            name_of=wiring.name_of,
        )
    if json:
        typer.echo(answer.model_dump_json(indent=1))
        return
    for line in explanation_lines(answer):
        stdout().print(line, soft_wrap=isinstance(line, str), markup=False)


def neighbours(
    image_id: Annotated[str, typer.Argument(metavar="ID", help="Image id.")],
    k: Annotated[int, typer.Option("--k", "-k", min=1, max=MAX_NEIGHBOURS, help="Number of neighbours.")] = 10,
    snapshot: SnapshotOption = None,
    knowledge: KnowledgeOption = "dk_ek",
    representation: RepresentationOption = DEFAULT_REPRESENTATION,
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    json: Annotated[bool, typer.Option("--json", help="Print what `GET /v1/images/ID/neighbours` answers.")] = False,
) -> None:
    """Show the images most similar to an image, with the concepts they share.

    `kg-service neighbours RM_00001 -k 5`
    """
    from kg_service.app.wiring import Wiring
    from kg_service.snapshot import find_neighbours

    with closing(Wiring(settings_of(data=data, vocabulary=vocabulary))) as wiring:
        answer = find_neighbours(
            wiring.snapshots.open(snapshot),
            check_image_id(image_id),
            k,
            knowledge=knowledge,
            representation=representation,
            name_of=wiring.name_of,
        )
    if json:
        typer.echo(answer.model_dump_json(indent=1))
    elif answer.neighbours:
        stdout().print(neighbour_table(answer))
    else:
        why = "no other image is similar to it" if answer.has_knowledge else "it has no concept in the snapshot"
        stdout().print(f"no neighbours: {why}", markup=False)
