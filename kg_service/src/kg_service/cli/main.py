"""The command `kg-service`: one verb for each stage, from RRF files to a running service.

Each verb imports the rooms it needs when it runs: all of them together take seconds, and neither help nor `serve` should wait.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from nbclip.errors import NBClipError, Unavailable, os_reason
from typer.core import TyperGroup

from kg_service.app.logging import configure_logging
from kg_service.cli.batch import batch_app
from kg_service.cli.explain import explain, neighbours
from kg_service.cli.graph import copy_graph, export
from kg_service.cli.ingest import ingest
from kg_service.cli.keys import keys_app
from kg_service.cli.link import link
from kg_service.cli.linker import linker_app
from kg_service.cli.options import Data, KeysFile, LinkerName, Prior, Store, VocabularyFolder, settings_of
from kg_service.cli.shown.console import complain, finding_line, stdout
from kg_service.cli.snapshot import snapshot_app
from kg_service.cli.vocabulary import vocabulary_app
from kg_service.config import load_settings
from kg_service.storage.writing import is_full

_NO_CACHE = "no locator available"
"""What numba says where it finds no place for what it compiles."""
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
app.add_typer(vocabulary_app, name="vocabulary", rich_help_panel=_WALK)
app.add_typer(snapshot_app, name="snapshot", rich_help_panel=_WALK)
app.add_typer(linker_app, name="linker", rich_help_panel=_LINK)
app.add_typer(batch_app, name="batch", rich_help_panel=_GRAPH)
app.add_typer(keys_app, name="keys", rich_help_panel=_GRAPH)
app.command(rich_help_panel=_WALK)(ingest)
app.command(rich_help_panel=_LINK)(link)
app.command("copy", rich_help_panel=_GRAPH)(copy_graph)
app.command(rich_help_panel=_GRAPH)(export)
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
        if is_full(error):
            complain(f"the disk is full: {os_reason(error)}", "free disk space, and run it again")
            sys.exit(Unavailable.exit_code)
        complain(f"can't use {os_reason(error)}", "check the path and its permissions")
        sys.exit(2)
    except RuntimeError as error:
        if _NO_CACHE not in str(error):
            raise
        complain(
            "compiled kernels can't be kept: neither beside the code nor in the home folder's .cache can be written",
            "set NUMBA_CACHE_DIR to a folder that can",
        )
        sys.exit(2)


@app.command(rich_help_panel=_WALK)
def serve(
    data: Data = None,
    store: Store = None,
    vocabulary: VocabularyFolder = None,
    linker: LinkerName = None,
    prior: Prior = None,
    keys_file: KeysFile = None,
    read_only: Annotated[
        bool | None, typer.Option("--read-only", help="Serve published snapshots alone, and write nothing.", show_default=False)
    ] = None,
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
        data=data, store=store, vocabulary=vocabulary, linker=linker, linker_prior=prior, keys_file=keys_file,
        read_only=read_only, host=host, port=port, uds=uds, root_path=root_path, log_format=log_format,
    )  # fmt: skip
    configure_logging(settings.log_format)
    run(settings)


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
