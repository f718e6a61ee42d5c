"""`kg-service copy` and `export`: the graph in another store, or in files. Those of `batch` do the same."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer
from nbclip.errors import InvalidInput

from kg_service.cli.options import Data, Store, settings_of
from kg_service.cli.shown.console import complain, counts_table, image_progress, progress_bar, stderr, stdout

if TYPE_CHECKING:
    from kg_service.config import Settings
    from kg_service.graph.store import GraphSource

_STANDARD_ERROR = 2

Target = Annotated[str, typer.Argument(metavar="TARGET", help="Graph store to copy to: empty, or with an interrupted copy.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace images that are stored with different content.")]
Merge = Annotated[bool, typer.Option("--merge", help="Copy into a graph that also has other images.")]
Format: TypeAlias = Literal["neo4j-admin", "parquet"]
FormatName = Annotated[Format, typer.Argument(help="CSV for an offline import, or Parquet.")]
NewFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder to create.")]
Neo4jHome = Annotated[
    Path | None,
    typer.Option("--neo4j-home", help="Folder of a stopped Neo4j without a database, on this machine: import into it."),
]


def copy_graph(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Graph store to copy from.")],
    target: Target,
    data: Data = None,
    replace: Replace = False,
    merge: Merge = False,
) -> None:
    """Copy the graph to another store and compare the two; running it again resumes, or changes nothing.

    Login of Neo4j servers: `KG_STORE_USER`, `KG_STORE_PASSWORD`.

    `kg-service copy data/graph.sqlite neo4j://localhost:7687`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.graph import require_store

    settings = settings_of(data=data)
    require_store(source)
    with closing(open_graph(settings, source, bulk=True, read_only=True)) as graph:
        copy_to(target, graph, settings, named=source, replace=replace, merge=merge)


def copy_to(target: str, source: GraphSource, settings: Settings, *, named: object, replace: bool, merge: bool) -> None:
    """Copies a graph, which messages call `named`, to a store and prints both; exits with status 1 where they differ."""
    from kg_service.app.wiring import open_graph
    from kg_service.graph.exports.transfer import copy

    with closing(open_graph(settings, target, bulk=True)) as new, progress_bar() as progress:
        show = image_progress(progress, target, source.counts().images)
        report = copy(source, new, on_conflict="replace" if replace else "reject", merge=merge, on_images=show)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items())) or "nothing"
    stdout().print(counts)
    stdout().print(counts_table({"source": report.source, "target": report.target}))
    if not report.complete:
        for difference in report.differences:
            stderr().print(difference, soft_wrap=True, markup=False)
        mend = "--replace takes the source's images" if report.outcomes.get("rejected") else "images only the target has are kept"
        complain(f"{target} holds a different graph from {named}", f"{mend}; for an identical graph copy to an empty store")
        raise typer.Exit(1)


def export(
    format: FormatName,
    folder: NewFolder,
    data: Data = None,
    store: Store = None,
    neo4j_home: Neo4jHome = None,
) -> None:
    """Write the whole graph to files, for a first load of Neo4j (faster than `copy`) or for analysis.

    `kg-service export neo4j-admin import/`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.graph import require_store

    settings = settings_of(data=data, store=store)
    require_store(settings.store_url)
    with closing(open_graph(settings, bulk=True, read_only=True)) as graph:
        export_to(folder, graph, settings, format, neo4j_home)


def export_to(folder: Path, source: GraphSource, settings: Settings, format: Format, neo4j_home: Path | None) -> None:
    """Writes a graph to files in a new folder, prints what it has, and imports it or prints how to."""
    from kg_service.graph.exports.neo4j_admin import export_neo4j_admin, import_commands
    from kg_service.graph.exports.parquet import export_parquet
    from kg_service.storage.sweeping import noted

    if neo4j_home and format != "neo4j-admin":
        raise InvalidInput(f"--neo4j-home imports no {format}", hint="export neo4j-admin, or leave it out")
    admin = _admin_of(neo4j_home) if neo4j_home else None
    write = {"neo4j-admin": export_neo4j_admin, "parquet": export_parquet}[format]
    with noted(folder.parent, settings.data), progress_bar() as progress:
        counts = write(source, folder, on_images=image_progress(progress, str(folder), source.counts().images))
    stdout().print(counts_table({folder.name: counts}))
    if admin:
        _import(folder, admin)
    elif format == "neo4j-admin":
        stdout().print("To import it, stop the server; if it has run before, add --overwrite-destination=true:", soft_wrap=True)
        for installation, command in import_commands(folder).items():
            stdout().print(f"# {installation}\n{command}", soft_wrap=True, markup=False)


def _admin_of(home: Path) -> Path:
    """The `neo4j-admin` of an installation; InvalidInput if there is none that can be run."""
    admin = home / "bin" / "neo4j-admin"
    if not os.access(admin, os.X_OK):
        raise InvalidInput(f"no program {admin}", hint="name the folder that Neo4j was unpacked into")
    return admin


def _import(folder: Path, admin: Path) -> None:
    """Imports exported files; exits with status 2 where `neo4j-admin` refuses, which says why itself."""
    command = ["/bin/sh", str(folder / "import.sh"), str(admin)]
    done = subprocess.run(command, stdout=_STANDARD_ERROR, check=False)  # noqa: S603
    if done.returncode:
        again = shlex.join([*command, "--overwrite-destination=true"])
        complain(f"{admin} ended with status {done.returncode}", f"stop the server; to replace what its database holds: {again}")
        raise typer.Exit(2)
