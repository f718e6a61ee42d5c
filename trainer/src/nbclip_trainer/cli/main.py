"""The command `nbclip`. Only in this room is anything printed, and only here do errors become exit codes.

torch takes seconds to import: a command imports what it needs when it runs.
"""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from nbclip.errors import NBClipError, os_reason
from rich.logging import RichHandler

from nbclip_trainer.cli.console import complain, err, rank
from nbclip_trainer.cli.example import example
from nbclip_trainer.cli.experiment import experiment
from nbclip_trainer.cli.index import index
from nbclip_trainer.cli.prepare import presets, validate
from nbclip_trainer.cli.score import evaluate, export, report
from nbclip_trainer.cli.targets import targets
from nbclip_trainer.cli.train import train

_WALK, _ALSO = "Steps, in order", "Also"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Train image-text models with soft targets from a knowledge graph, and score what they retrieve.

    The steps: train, evaluate, report. `nbclip COMMAND --help` has examples of each.""",
)
for step in (train, evaluate, report, export):
    app.command(rich_help_panel=_WALK)(step)
for other in (presets, validate, index, experiment, example):
    app.command(rich_help_panel=_ALSO)(other)
app.add_typer(targets, name="targets", rich_help_panel=_ALSO)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nbclip {version('nbclip-trainer')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help text stands above."""


def main() -> None:
    """Runs the command; an expected error prints one line and its hint, and exits with its class's status."""
    handler = RichHandler(console=err(), show_path=False, show_time=False)
    # What is worth a warning on one rank mostly is on all.
    logging.basicConfig(level=logging.ERROR if rank() else logging.WARNING, format="%(message)s", handlers=[handler])
    try:
        app()
    except NBClipError as error:
        complain(error.message, error.hint)
        sys.exit(error.exit_code)
    except OSError as error:
        complain(f"can't use {os_reason(error)}", "check the path, its permissions and the free space on the disk")
        sys.exit(2)
