"""`nbclip example`: data for a first run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from nbclip_trainer.cli.console import err, out

_NEXT = """next, with the service (pip install nbclip-kg-service):
  export KG_DATA={folder}/service
  kg-service vocabulary build {folder}/vocabulary
  kg-service ingest {folder}/metadata.csv
  kg-service snapshot publish --split train
  kg-service serve &
  nbclip train --preset tiny-nbclip --data {folder}/metadata.csv --set batch_size=32 \\
    --service http://127.0.0.1:8080 --run {folder}/run
  nbclip evaluate {folder}/run --min-class-size 5
  nbclip report {folder}/run --out {folder}/report.html"""


def example(folder: Annotated[Path, typer.Argument(help="Folder to create.")]) -> None:
    """Write a tiny example: 187 radiology images with captions and an open vocabulary, all CC0.

    [bold]Examples[/bold]

    [cyan]nbclip example example[/cyan]

    It shows that everything runs, and is too small to say anything about a method. The commands that come next are printed.
    """
    from nbclip_trainer.example.writing import write_example

    out().print(write_example(folder), soft_wrap=True, markup=False, highlight=False)
    err().print(_NEXT.format(folder=shlex.quote(str(folder))), soft_wrap=True, markup=False, highlight=False)
