"""`kg-service copy` and `export`: the graph in another store, or in files."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

import typer

from kg_service.cli.options import Data, Store, settings_of
from kg_service.cli.shown.console import complain, counts_table, image_progress, progress_bar, stderr, stdout


def copy_graph(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Graph store to copy from.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Graph store to copy to: empty, or with an interrupted copy.")],
    data: Data = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace images that are stored with different content.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Copy into a graph that also has other images.")] = False,
) -> None:
    """Copy the graph to another store and compare the two; running it again resumes, or changes nothing.

    Login of Neo4j servers: `KG_STORE_USER`, `KG_STORE_PASSWORD`.

    `kg-service copy data/graph.sqlite neo4j://localhost:7687`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.graph import require_store
    from kg_service.graph.exports.transfer import copy

    settings = settings_of(data=data)
    require_store(source)
    with (
        closing(open_graph(settings, source, bulk=True, read_only=True)) as old,
        closing(open_graph(settings, target, bulk=True)) as new,
        progress_bar() as progress,
    ):
        show = image_progress(progress, target, old.counts().images)
        report = copy(old, new, on_conflict="replace" if replace else "reject", merge=merge, on_images=show)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.outcomes.items())) or "nothing"
    stdout().print(counts)
    stdout().print(counts_table({"source": report.source, "target": report.target}))
    if not report.complete:
        for difference in report.differences:
            stderr().print(difference, soft_wrap=True, markup=False)
        mend = "--replace takes the source's images" if report.outcomes.get("rejected") else "images only the target has are kept"
        complain(f"{target} holds a different graph from {source}", f"{mend}; for an identical graph copy to an empty store")
        raise typer.Exit(1)


def export(
    format: Annotated[Literal["neo4j-admin", "parquet"], typer.Argument(help="CSV for an offline import, or Parquet.")],
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    data: Data = None,
    store: Store = None,
) -> None:
    """Write the whole graph to files, for a first load of Neo4j (faster than `copy`) or for analysis.

    `kg-service export neo4j-admin import/`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.graph import require_store
    from kg_service.graph.exports.neo4j_admin import export_neo4j_admin, import_commands
    from kg_service.graph.exports.parquet import export_parquet
    from kg_service.storage.sweeping import noted

    settings = settings_of(data=data, store=store)
    require_store(settings.store_url)
    write = {"neo4j-admin": export_neo4j_admin, "parquet": export_parquet}[format]
    with (
        noted(folder.parent, settings.data),
        closing(open_graph(settings, bulk=True, read_only=True)) as graph,
        progress_bar() as progress,
    ):
        counts = write(graph, folder, on_images=image_progress(progress, str(folder), graph.counts().images))
    stdout().print(counts_table({folder.name: counts}))
    if format == "neo4j-admin":
        stdout().print("To import it, stop the server; if it has run before, add --overwrite-destination=true:", soft_wrap=True)
        for installation, command in import_commands(folder).items():
            stdout().print(f"# {installation}\n{command}", soft_wrap=True, markup=False)
