"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from nbclip.files.addresses import location


class Which(StrEnum):
    """Which checkpoint of a run."""

    LAST = "last"
    BEST = "best"


Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        "-d",
        metavar="PATH",
        help="Table (.csv, .tsv, .parquet), .jsonl, shard (.tar), or a folder of these or of ROCO; or an address, such as "
        "'s3://bucket/*.tar'; repeatable.",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="key=value that overrides the preset, such as optim.lr=1e-3; repeatable.")
]
ServiceUrl = Annotated[str | None, typer.Option("--service", help="URL of the knowledge-graph service.")]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="File with the service's key; or set NBCLIP_SERVICE_KEY.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Checkpoint = Annotated[Which | None, typer.Option(help="Checkpoint to use; default: the run's checkpoint.select.")]


def as_overrides(
    settings: list[str] | None, data: list[str] | None, service: str | None = None, key_file: Path | None = None
) -> list[str]:
    """`--set` and the options that stand for a key; paths are absolute, so that the run knows them from anywhere."""
    chosen = {
        "data.files": [str(location(text).absolute()) for text in data] if data else None,
        "service.url": service,
        "service.key_file": str(key_file.absolute()) if key_file else None,
    }
    return [*(settings or []), *(f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None)]
