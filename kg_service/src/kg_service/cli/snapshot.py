"""`kg-service snapshot`: publishes, extends, lists, checks and removes snapshots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from nbclip.errors import BrokenArtefact, InvalidInput
from nbclip.schemas.snapshots import OwnIsA, PublishRequest, RarestConcepts, ShuffledIsA, ShuffledRelations
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge

from kg_service.cli.options import Data, Store, VocabularyFolder, settings_of
from kg_service.cli.own_is_a import read_is_a
from kg_service.cli.shown.console import append_lines, changes_text, complain, is_a_text, part_text, stderr
from kg_service.config import Settings, variables_of
from kg_service.representations.methods import METHODS, method_named

snapshot_app = typer.Typer(no_args_is_help=True, help="Publish immutable snapshots of the graph; targets come from them.")

OfDataset = Annotated[str | None, typer.Option("--dataset", help="Only images of this dataset.")]
OfSplit = Annotated[str | None, typer.Option("--split", help="Only images of this split.")]
Representations = Annotated[
    list[str] | None,
    typer.Option("--representation", help=f"{', '.join(METHODS)}; repeatable. Default: {DEFAULT_REPRESENTATION}."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.PARAMETER=VALUE", help="Set a parameter, such as transe.preset=paper; repeatable."),
]
ShuffleIsA = Annotated[
    int | None,
    typer.Option(
        "--shuffle-is-a", min=0, metavar="SEED", help="A control: shuffle the parents of the graph's is_a by this seed."
    ),
]
IsAFile = Annotated[
    Path | None,
    typer.Option("--is-a", help="An own is_a in place of the graph's: a CSV or TSV file with the columns child and parent."),
]
ShuffleRelations = Annotated[
    int | None,
    typer.Option(
        "--shuffle-relations", min=0, metavar="SEED", help="A control: shuffle where typed relations lead by this seed."
    ),
]
Rarest = Annotated[
    int | None,
    typer.Option("--rarest-concepts", min=1, metavar="N", help="Keep of each image only its N rarest concepts, for experiments."),
]
Current = Annotated[
    bool, typer.Option("--current/--not-current", help="Serve it from now on; or leave what is served, for experiments.")
]


@snapshot_app.command("publish")
def publish_snapshot(
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    dataset: OfDataset = None,
    split: OfSplit = None,
    representation: Representations = None,
    parameter: Parameters = None,
    shuffle_is_a: ShuffleIsA = None,
    is_a: IsAFile = None,
    shuffle_relations: ShuffleRelations = None,
    rarest_concepts: Rarest = None,
    current: Current = True,
) -> None:
    """Freeze the graph into a snapshot, make it the current one and print its id; the same graph gives the same id.

    Targets for training must come from the training split alone: `kg-service snapshot publish --split train`
    """
    from kg_service.app.publication import publish_part
    from kg_service.app.wiring import open_graph
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = fitting_settings(representation, parameter, data=data, store=store, vocabulary=vocabulary)
    changes = changes_of(shuffle_is_a, is_a, shuffle_relations, rarest_concepts)
    wanted = PublishRequest(dataset=dataset, split=split, current=current, **changes)
    known = open_vocabulary(settings.vocabulary_folder)
    with closing(open_graph(settings, bulk=True)) as graph:
        new_id = publish_part(graph, known, settings, wanted)
    show_published(settings, new_id)


def show_published(settings: Settings, new_id: str) -> None:
    """Prints what a new snapshot holds, and its id."""
    from kg_service.snapshot import SnapshotFolder

    manifest = SnapshotFolder(settings.snapshots_folder).manifest(new_id)
    stderr().print(
        f"published {new_id:.12}…: {manifest.images} images ({manifest.images_with_knowledge} with a concept), "
        f"{manifest.concepts} concepts, {manifest.attributes} attributes, {manifest.is_a_edges} is_a{is_a_text(manifest)}"
        f"{changes_text(manifest)}",
        soft_wrap=True,
    )
    typer.echo(new_id)


def fitting_settings(
    representations: Sequence[str] | None, parameters: Iterable[str] | None, **places: Path | str | None
) -> Settings:
    """The settings with these representations and their parameters (`parameters_of`); errors as `settings_of`."""
    return settings_of(representations=tuple(representations or ()) or None, **parameters_of(parameters or ()), **places)


def changes_of(
    shuffle_is_a: int | None, is_a: Path | None, shuffle_relations: int | None, rarest_concepts: int | None
) -> dict[str, Any]:
    """What a `PublishRequest` has in the place of the graph's own; raises InvalidInput as `_other_is_a`."""
    return {
        "is_a": _other_is_a(shuffle_is_a, is_a),
        "relations": None if shuffle_relations is None else ShuffledRelations(shuffled=shuffle_relations),
        "concepts": None if rarest_concepts is None else RarestConcepts(rarest=rarest_concepts),
    }


def _other_is_a(seed: int | None, file: Path | None) -> ShuffledIsA | OwnIsA | None:
    """What takes the place of the graph's is_a.

    Raises:
        InvalidInput: both are given, or the file can't be used.
    """
    if seed is not None and file is not None:
        raise InvalidInput("--shuffle-is-a and --is-a together", hint="give one of them")
    if file is not None:
        return read_is_a(file)
    return None if seed is None else ShuffledIsA(shuffled=seed)


def parameters_of(pairs: Iterable[str]) -> dict[str, str]:
    """Settings, from `NAME.PARAMETER=VALUE`.

    Raises:
        InvalidInput: a representation, or a parameter of it, is not known.
    """
    found = {}
    for pair in pairs:
        place, separator, value = pair.partition("=")
        name, _, parameter = place.partition(".")
        method = method_named(name)
        known = [variable.key.removeprefix(f"{method.name}_") for variable in variables_of(method.settings, method.name)]
        if not separator or parameter not in known:
            raise InvalidInput(f"--set {pair}: not NAME.PARAMETER=VALUE", hint=f"parameters of {name}: {', '.join(known)}")
        found[f"{method.name}_{parameter}"] = value
    return found


@snapshot_app.command("append")
def append_to_snapshot(data: Data = None, store: Store = None) -> None:
    """Add the graph's new images to the current snapshot without fitting anything again, and print the new id.

    The snapshot's own images keep their vectors, and snapshots that training runs are pinned to stay as they are. Replaced and
    deleted images are only counted; `kg-service snapshot publish` picks them up.
    """
    from kg_service.app.wiring import open_graph
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.append import append, with_elsewhere

    settings = settings_of(data=data, store=store)
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
    """List the snapshots, the current one first, and name those with a damaged manifest."""
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.aside import is_kept

    folder = SnapshotFolder(settings_of(data=data).snapshots_folder)
    for held, manifest in folder.manifests():
        if isinstance(manifest, BrokenArtefact):
            typer.echo(f"{held} damaged")
            complain(manifest.message, manifest.hint)
            continue
        part = part_text(manifest)
        words = [part, f"appended={manifest.appended.images}"] if manifest.appended else [part]
        words += ["current"] if held == folder.current() else []
        words += ["aside"] if is_kept(folder.path / held) else []
        text = f"{held} {manifest.images:>9} images {manifest.concepts:>7} concepts {' '.join(filter(None, words))}".rstrip()
        typer.echo(f"{text}{is_a_text(manifest)}{changes_text(manifest)}")


@snapshot_app.command("verify")
def verify_snapshot(
    snapshot_id: Annotated[str | None, typer.Argument(help="Snapshot id.", show_default="all")] = None, data: Data = None
) -> None:
    """Check the size and SHA-256 of every file of one snapshot, or of all; the exit status is 1 if one is damaged."""
    from kg_service.snapshot import SnapshotFolder

    folder = SnapshotFolder(settings_of(data=data).snapshots_folder)
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
    snapshot_id: Annotated[str | None, typer.Option("--snapshot", help="Snapshot id.", show_default="current")] = None,
    knowledge: Annotated[Knowledge, typer.Option(help="dk_ek: with is_a; dk: without it; noise: the control.")] = "dk_ek",
    representation: Annotated[str, typer.Option(help="A representation the snapshot holds.")] = DEFAULT_REPRESENTATION,
) -> None:
    """Write the image vectors to a file, to train without a service: `targets.mode=snapshot`, `targets.file=FILE`."""
    from kg_service.snapshot import SnapshotFolder, embeddings_parts
    from kg_service.storage.replacement import write_file
    from kg_service.storage.sweeping import noted

    settings = settings_of(data=data)
    snapshot = SnapshotFolder(settings.snapshots_folder).open(snapshot_id)
    content = b"".join(embeddings_parts(snapshot, knowledge, representation))
    with noted(file.parent, settings.data):
        write_file(file, content)
    stderr().print(f"{snapshot.manifest.images} images, {representation}/{knowledge}, {len(content)} bytes", soft_wrap=True)
    typer.echo(snapshot.id)


@snapshot_app.command("prune")
def prune_snapshots(
    keep: Annotated[int, typer.Option(min=0, help="Number of snapshots to keep besides the current one.")] = 3,
    not_current: Annotated[
        bool, typer.Option("--not-current", help="Remove old ones that were published with --not-current, too.")
    ] = False,
    data: Data = None,
) -> None:
    """Remove old and damaged snapshots and print their ids.

    The current snapshot, the newest others and the snapshots these build on are kept, and so are all that were published with
    --not-current, unless these are named. A training run that is pinned to a removed
    snapshot can't resume: keep at least as many as training runs are active.
    """
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.pruning import prune

    for removed in prune(SnapshotFolder(settings_of(data=data).snapshots_folder), keep, aside=not_current):
        typer.echo(removed)
