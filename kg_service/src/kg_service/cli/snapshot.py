"""`kg-service snapshot`: publishes, appends, looks at and removes snapshots."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer
from nbclip.errors import BrokenArtefact
from nbclip.schemas.targets import Knowledge

from kg_service.cli.options import Data, Store, VocabularyFolder
from kg_service.cli.shown.console import append_lines, complain, part_text, stderr
from kg_service.config import load_settings

snapshot_app = typer.Typer(no_args_is_help=True, help="Immutable snapshots of the graph, which targets are answered from.")


@snapshot_app.command("publish")
def publish_snapshot(
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    dataset: Annotated[str | None, typer.Option(help="Only images of this dataset.")] = None,
    split: Annotated[str | None, typer.Option(help="Only images of this split.")] = None,
    representation: Annotated[
        list[str] | None, typer.Option(help="hybrid, concepts or transe; again for more. Default: hybrid.")
    ] = None,
    transe_preset: Annotated[Literal["fast", "paper"] | None, typer.Option(help="How transe is learned.")] = None,
) -> None:
    """Freezes the graph, makes it the current snapshot and prints its id; the same graph gives the same id.

    A training run's targets come from its training split: `kg-service snapshot publish --split train`
    """
    from kg_service.app.publication import publish_part
    from kg_service.app.wiring import open_graph
    from kg_service.snapshot import SnapshotFolder
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = load_settings(
        data=data,
        store=store,
        vocabulary=vocabulary,
        transe_preset=transe_preset,
        representations=tuple(representation or ()) or None,
    )
    known = open_vocabulary(settings.vocabulary_folder)
    with closing(open_graph(settings, bulk=True)) as graph:
        new_id = publish_part(graph, known, settings, dataset=dataset, split=split)
    manifest = SnapshotFolder(settings.snapshots_folder).manifest(new_id)
    stderr().print(
        f"{manifest.images} images ({manifest.images_with_knowledge} with a concept), {manifest.concepts} concepts, "
        f"{manifest.attributes} attributes, {manifest.is_a_edges} is_a",
        soft_wrap=True,
    )
    typer.echo(new_id)


@snapshot_app.command("append")
def append_to_snapshot(data: Data = None, store: Store = None) -> None:
    """Adds new images of the graph to the current snapshot, by its frozen tables, and prints the new id.

    Its own images keep their vectors, and snapshots that trainings are pinned to stay. Images that were replaced or deleted are
    counted, not taken up: for them `kg-service snapshot publish`.
    """
    from kg_service.app.wiring import open_graph
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.append import append, with_elsewhere

    settings = load_settings(data=data, store=store)
    snapshots = SnapshotFolder(settings.snapshots_folder)
    with closing(open_graph(settings, bulk=True)) as graph:
        new_id, counts = append(graph, snapshots)
        manifest = snapshots.manifest(new_id)
        counts = with_elsewhere(graph, manifest, counts)
    for line in append_lines(counts, manifest):
        stderr().print(line, soft_wrap=True)
    typer.echo(new_id)


@snapshot_app.command("list")
def list_snapshots(data: Data = None) -> None:
    """Lists snapshots, the current one first, and says which have a damaged manifest."""
    from kg_service.snapshot import SnapshotFolder

    folder = SnapshotFolder(load_settings(data=data).snapshots_folder)
    for held, manifest in folder.manifests():
        if isinstance(manifest, BrokenArtefact):
            typer.echo(f"{held} damaged")
            complain(manifest.message, manifest.hint)
            continue
        part = part_text(manifest)
        words = [part, f"appended={manifest.appended.images}"] if manifest.appended else [part]
        words += ["current"] if held == folder.current() else []
        typer.echo(f"{held} {manifest.images:>9} images {manifest.concepts:>7} concepts {' '.join(filter(None, words))}".rstrip())


@snapshot_app.command("verify")
def verify_snapshot(
    snapshot_id: Annotated[str | None, typer.Argument(help="Id of a snapshot.", show_default="all")] = None, data: Data = None
) -> None:
    """Checks the size and SHA-256 of every file of a snapshot, or of all; exit status 1 if one is damaged."""
    from kg_service.snapshot import SnapshotFolder

    folder = SnapshotFolder(load_settings(data=data).snapshots_folder)
    damaged = 0
    for held in [snapshot_id] if snapshot_id else folder.ids():
        try:
            manifest = folder.verify(held)
        except BrokenArtefact as error:
            damaged += 1
            typer.echo(f"{held} damaged")
            complain(error.message, error.hint)
        else:
            typer.echo(f"{held} whole: {len(manifest.files)} files, {sum(file.bytes for file in manifest.files)} bytes")
    if damaged:
        raise typer.Exit(BrokenArtefact.exit_code)


@snapshot_app.command("embeddings")
def write_embeddings(
    file: Annotated[Path, typer.Argument(help="File to write, such as vectors.safetensors.")],
    data: Data = None,
    snapshot_id: Annotated[str | None, typer.Option("--snapshot", help="Id of a snapshot.", show_default="current")] = None,
    knowledge: Annotated[Knowledge, typer.Option(help="Which form.")] = "dk_ek",
    representation: Annotated[str, typer.Option(help="Which representation.")] = "hybrid",
) -> None:
    """Writes the image vectors to a file, for a training without a service: `targets.mode=snapshot`, `targets.file=FILE`."""
    from kg_service.snapshot import SnapshotFolder, embeddings_parts
    from kg_service.storage.durable import write_file

    snapshot = SnapshotFolder(load_settings(data=data).snapshots_folder).open(snapshot_id)
    content = b"".join(embeddings_parts(snapshot, knowledge, representation))
    write_file(file, content)
    stderr().print(f"{snapshot.manifest.images} images, {representation}/{knowledge}, {len(content)} bytes", soft_wrap=True)
    typer.echo(snapshot.id)


@snapshot_app.command("prune")
def prune_snapshots(
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest stay beside the current one.")] = 3,
    data: Data = None,
) -> None:
    """Removes old and damaged snapshots, and prints their ids; the current one, the newest others and what they stand on stay.

    A training that is pinned to a removed one can't be resumed: keep as many as trainings run.
    """
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.pruning import prune

    for removed in prune(SnapshotFolder(load_settings(data=data).snapshots_folder), keep):
        typer.echo(removed)
