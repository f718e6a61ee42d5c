"""The command `kg-service`: one verb for each stage, from RRF files to a running service.

Each verb imports the rooms it needs when it runs: all of them together take seconds, and neither help nor `serve` should wait.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from nbclip.errors import InvalidInput, NBClipError, os_reason
from nbclip.files.rows import MAX_BAD_ROW_SHARE
from typer.core import TyperGroup

from kg_service.app.logging import configure_logging
from kg_service.cli.batch import batch_app
from kg_service.cli.explain import explain, neighbours
from kg_service.cli.keys import keys_app
from kg_service.cli.linker import linker_app
from kg_service.cli.options import (
    BAD_ROWS_SHOWN,
    Column,
    Data,
    FileFormat,
    KeysFile,
    LinkerName,
    Prior,
    Separator,
    Store,
    VocabularyFolder,
    columns,
    end_if_bad,
    listed,
    settings_of,
)
from kg_service.cli.shown.console import (
    build_table,
    complain,
    counts_table,
    file_progress,
    finding_line,
    image_progress,
    ingest_line,
    note,
    progress_bar,
    row_progress,
    stderr,
    stdout,
    unknown_line,
)
from kg_service.cli.shown.mentions import coloured, mention_table
from kg_service.cli.snapshot import snapshot_app
from kg_service.config import load_settings
from kg_service.vocabulary.model import BadRow

_WALK, _LINK, _INSPECT, _GRAPH = "Steps, in order", "Link", "Inspect", "Graph and keys"
_ORDER = (
    *("vocabulary", "ingest", "snapshot", "serve"),
    *("link", "linker"),
    *("doctor", "neighbours", "explain", "settings"),
    *("batch", "copy", "export", "keys"),
)


class _WalkFirst(TyperGroup):
    """Lists the commands in the order of `_ORDER`; typer alone would list all groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_WalkFirst,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Turn captions into UMLS concepts, a graph, and soft targets for training.

    The steps: `vocabulary build` → `ingest` → `snapshot publish` → `serve`. Lost? `kg-service doctor` names the next one.
    Settings are `KG_…` variables (`kg-service settings` lists them); an option overrides its variable.""",
)
vocabulary_app = typer.Typer(no_args_is_help=True, help="Compile a vocabulary from UMLS files: names, semantic types, is_a.")
app.add_typer(vocabulary_app, name="vocabulary", rich_help_panel=_WALK)
app.add_typer(snapshot_app, name="snapshot", rich_help_panel=_WALK)
app.add_typer(linker_app, name="linker", rich_help_panel=_LINK)
app.add_typer(batch_app, name="batch", rich_help_panel=_GRAPH)
app.add_typer(keys_app, name="keys", rich_help_panel=_GRAPH)
app.command(rich_help_panel=_INSPECT)(explain)
app.command(rich_help_panel=_INSPECT)(neighbours)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kg-service {version('nbclip-kg-service')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help text stands above."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; an expected error prints one line and its hint, and exits with its class's status (`nbclip.errors`)."""
    configure_logging("console", logging.WARNING)
    try:
        app(args=arguments)
    except NBClipError as error:
        complain(error.message, error.hint)
        sys.exit(error.exit_code)
    except OSError as error:
        complain(f"can't use {os_reason(error)}", "check the path, its permissions and the free space on the disk")
        sys.exit(2)


@vocabulary_app.command("build")
def build(
    rrf_dir: Annotated[Path, typer.Argument(help="META folder of a release, a folder above it, or one with its .nlm archives.")],
    vocabulary: VocabularyFolder = None,
    data: Data = None,
    source: Annotated[list[str] | None, typer.Option(help="SABs to use, the most trusted first; default: all.")] = None,
    semantic_type: Annotated[list[str] | None, typer.Option(help="TUIs, names or groups of types to use; default: all.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Languages to use; default: ENG.")] = None,
    suppress: Annotated[list[str] | None, typer.Option(help="SUPPRESS values to skip; default: O, E, Y; '' skips none.")] = None,
    is_a: Annotated[
        Literal["rela", "rel", "both"], typer.Option(help="Rows of MRREL that count as is_a. rela: RELA=isa; rel: PAR, CHD.")
    ] = "both",
    part_of: Annotated[bool, typer.Option("--part-of", help="Deprecated, use --relation part_of: read part_of as is_a.")] = False,
    relation: Annotated[
        list[str] | None, typer.Option(help="Relations to have beside is_a, by their RELA; default: KG_RELATIONS, or none.")
    ] = None,
    release: Annotated[str, typer.Option(help="Name of the release; default: the name in its files.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the content, recorded in the manifest.")] = "",
    max_bad: Annotated[int, typer.Option(min=0, help="Number of bad rows to tolerate.")] = 0,
) -> None:
    """Compile a vocabulary from RRF files, with the name index that linking uses.

    Bad rows are skipped and reported by file and line. Build before you ingest: a graph keeps the is_a edges of the vocabulary
    it was ingested with. A different vocabulary, or the same one with other relations, needs a new data folder.

    `--relation has_finding_site` keeps Pneumonia has_finding_site Lung as a typed edge; rows of the inverse RELA give the same
    edges.

    Values of `--source`, `--language`, `--semantic-type`, `--suppress` and `--relation` are repeated or separated by commas, in
    any case; one that nothing in the release has is an error.

    `kg-service vocabulary build umls/2025AB/META --source SNOMEDCT_US --source RADLEX`
    """
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_kind
    from kg_service.vocabulary.builder import build_vocabulary
    from kg_service.vocabulary.model import VocabularyFilters
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, vocabulary=vocabulary)
    given = {
        "sources": listed(source, "--source"),
        "semantic_types": listed(semantic_type, "--semantic-type"),
        "languages": listed(language, "--language"),
        "relations": listed(relation, "--relation") or settings.relations,
    }
    chosen = {name: values for name, values in given.items() if values}
    if suppress:
        chosen["suppress"] = listed(suppress)
    if part_of:
        note("--part-of takes part_of for is_a and will go", "--relation part_of makes it an edge of its own")
    is_a_from = (*(("rela", "rel") if is_a == "both" else (is_a,)), *(("part_of",) if part_of else ()))
    filters = VocabularyFilters(is_a=is_a_from, **chosen)
    with progress_bar() as progress:
        report = build_vocabulary(
            rrf_dir, settings.vocabulary_folder, filters, release=release, licence=licence, progress=file_progress(progress)
        )
        progress.add_task(f"index of the {settings.linker} linker", total=None)
        linker_kind(settings.linker).compile(built := open_vocabulary(settings.vocabulary_folder))
    stdout().print(build_table(report, settings.vocabulary_folder))
    for line in report.other_sizes:
        note(line, "check that all parts and -meta.nlm archives are there; ignore this if rows were removed on purpose")
    if not report.is_a:
        note("no is_a edge was found, so dk_ek will equal dk", "check MRREL and --is-a")
    warn_of_languages(built)
    end_if_bad(report.bad_rows, report.bad_row_count, max_bad)


@app.command(rich_help_panel=_WALK)
def ingest(
    file: Annotated[
        Path,
        typer.Argument(help="Table, ROCO (.txt) or NDJSON, plain or .gz; Parquet, a shard (.tar), or a folder of such files."),
    ],
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset for rows that have none.")] = None,
    split: Annotated[str | None, typer.Option(help="Split for rows that have none.")] = None,
    format: FileFormat = None,
    separator: Separator = None,
    column: Column = None,
    cuis: Annotated[
        Path | None, typer.Option(help="File of image ids and CUIs, as in ROCO; these are used instead of linking.")
    ] = None,
    relink: Annotated[bool, typer.Option("--relink", help="Link every caption, even where the row has CUIs.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace images that are stored with different content.")] = False,
    max_bad: Annotated[int, typer.Option(min=0, help="Number of bad or rejected rows to tolerate.")] = 0,
    max_bad_row_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad rows to tolerate: damaged, or without a caption.")
    ] = MAX_BAD_ROW_SHARE,
    show: Annotated[int, typer.Option(min=1, help="Number of bad or rejected rows to show.")] = BAD_ROWS_SHOWN,
) -> None:
    """Link the captions of a file and store them in the graph; running it again changes nothing.

    A row that can't be used is left out, named by file and line, and counted.

    `kg-service ingest examples/rocov2/metadata.csv --dataset rocov2`
    """
    from kg_service.app.wiring import open_graph
    from kg_service.ingest.pipeline import ingest_file
    from kg_service.ingest.readers import ReadOptions
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_settings
    from kg_service.linking.parallel import parallel_linker
    from kg_service.snapshot import SnapshotFolder
    from kg_service.snapshot.vocabulary_check import warn_before_ingest
    from kg_service.vocabulary.vocabulary import open_vocabulary

    settings = settings_of(data=data, store=store, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    known = open_vocabulary(settings.vocabulary_folder)
    warn_before_ingest(SnapshotFolder(settings.snapshots_folder), known)
    warn_of_languages(known)
    linking = parallel_linker(settings.linker, known, linker_settings(settings, known), settings.linker_workers)
    shown: list[BadRow] = []
    with closing(open_graph(settings, bulk=True)) as graph, linking as used, progress_bar() as progress:
        report = ingest_file(
            file,
            graph,
            used,
            known,
            options=ReadOptions(format, columns(column or ()), cuis, dataset, split, relink, separator),
            on_conflict="replace" if replace else "reject",
            on_progress=row_progress(progress, file.name),
            on_problem=lambda problem: shown.append(problem) if len(shown) < show else None,
        )
    stdout().print(ingest_line(report), soft_wrap=True, markup=False)
    if report.unknown_cuis:
        note(
            unknown_line(report), "build the vocabulary from the release that they come from, without filters that leave them out"
        )
    if report.without_cuis:
        note(
            f"images given an empty list of CUIs: {report.without_cuis}, stored without a concept; their captions are not linked",
            "leave the list out or make it null where the caption shall be linked; --relink links all",
        )
    rejected = report.counts.get("rejected", 0)
    mend = "fix them, or --replace what is stored," if rejected else "fix them"
    tolerated = report.bad_rows if report.bad_rows <= max_bad_row_share * report.rows else 0
    end_if_bad(shown, report.bad_rows + rejected, max_bad + tolerated, mend, show=show)


@app.command(rich_help_panel=_WALK)
def serve(
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    keys_file: KeysFile = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; anything but loopback needs a key.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    uds: Annotated[Path | None, typer.Option(help="Unix socket to listen on instead.")] = None,
    root_path: Annotated[str | None, typer.Option(help="Path under which a proxy exposes the service, such as /kg.")] = None,
    log_format: Annotated[Literal["console", "json"] | None, typer.Option(help="Log format.")] = None,
) -> None:
    """Serve targets over REST until SIGTERM; the service's page `/docs` shows every route.

    `kg-service serve --port 8080`, then `curl localhost:8080/readyz`
    """
    from kg_service.api.server import serve as run

    settings = load_settings(
        data=data, store=store, vocabulary=vocabulary, linker=linker, linker_prior=prior, keys_file=keys_file, host=host,
        port=port, uds=uds, root_path=root_path, log_format=log_format,
    )  # fmt: skip
    configure_logging(settings.log_format)
    run(settings)


@app.command("copy", rich_help_panel=_GRAPH)
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


@app.command(rich_help_panel=_GRAPH)
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


@app.command(rich_help_panel=_LINK)
def link(
    text: Annotated[str, typer.Argument(help="The caption.")],
    data: Data = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    json: Annotated[bool, typer.Option("--json", help="Print what `POST /v1/link` answers.")] = False,
) -> None:
    """Show the concepts a caption mentions and why: green is present, red absent, yellow uncertain.

    Magenta is of the family, cyan of the past.

    The rules that find a mention: exact, case (equal except for case), normalised (equal lemmas), word-order, stem, synonym (of a
    part or an ill), misspelt, learned (from a prior), abbreviation and radiology-abbreviation. If words could mean several
    concepts, these decide, in this order: how exact the rule is; how central the concept is, and how many of its names fit; the
    rank of the name, its source and its term type; the lower CUI. The other candidates are listed below the chosen one.

    `kg-service link "Chest X-ray: pleural effusion, no pneumothorax."`
    """
    from nbclip.schemas.base import MAX_CAPTION_CHARACTERS

    from kg_service.linking.answer import link_answer
    from kg_service.linking.builder import build_linker
    from kg_service.linking.languages import warn_of_languages
    from kg_service.linking.linkers import linker_settings
    from kg_service.vocabulary.vocabulary import open_vocabulary

    if len(text) > MAX_CAPTION_CHARACTERS:
        raise InvalidInput(
            f"a caption of {len(text):,} characters; the limit is {MAX_CAPTION_CHARACTERS:,}", hint="link it in parts"
        )
    settings = settings_of(data=data, vocabulary=vocabulary, linker=linker, linker_prior=prior)
    known = open_vocabulary(settings.vocabulary_folder)
    warn_of_languages(known)
    opened = build_linker(settings.linker, known, linker_settings(settings, known))
    answer = link_answer([text], opened, known, with_names=settings.show_names)
    if json:
        typer.echo(answer.model_dump_json(indent=1))
        return
    (linked,) = answer.results
    stdout().print(coloured(linked), soft_wrap=True)
    stdout().print(mention_table(linked.mentions) if linked.mentions else "no concept found")


@app.command(rich_help_panel=_INSPECT)
def settings() -> None:
    """Print every setting with its default, as a Markdown table."""
    from kg_service.app.settings import settings_table

    typer.echo(settings_table())


@app.command(rich_help_panel=_INSPECT)
def doctor(data: Data = None, store: Store = None, vocabulary: VocabularyFolder = None, keys_file: KeysFile = None) -> None:
    """Check every part of the data folder and name the next command."""
    from kg_service.app.doctor import examine

    findings = examine(settings_of(data=data, store=store, vocabulary=vocabulary, keys_file=keys_file))
    todo = [finding.hint for finding in findings if not finding.well]
    for finding in findings:
        stdout().print(finding_line(finding), soft_wrap=True)
    stdout().print(f"next: {todo[0] if todo else 'kg-service serve'}", soft_wrap=True, markup=False)
    raise typer.Exit(1 if todo else 0)
