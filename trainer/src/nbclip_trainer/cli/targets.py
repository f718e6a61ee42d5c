"""`nbclip targets inspect`: what targets are like, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from nbclip.errors import InvalidInput
from rich.progress import Progress
from rich.table import Table

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Data, KeyFile, ServiceUrl, Settings, as_overrides

if TYPE_CHECKING:
    from nbclip_trainer.config.tree import TrainConfig
    from nbclip_trainer.training.inspected import Inspection, Mean

_HINT = "--source FILE, NAME=FILE or 'NAME={knowledge: dk, snapshot: ID}'"

targets = typer.Typer(no_args_is_help=True, help="Look at targets before anything is trained.")


@targets.callback()
def _room() -> None:
    """Its commands stand below."""


@targets.command()
def inspect(
    source: Annotated[
        list[str],
        typer.Option(
            "--source",
            help="Vectors of kg-service snapshot embeddings, as FILE or NAME=FILE, or NAME={…} with settings of targets. "
            "Repeatable; the same NAME again: another seed of that source.",
        ),
    ],
    data: Data = None,
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Whose batches, seed and target form; else the defaults.")
    ] = None,
    settings: Settings = None,
    batches: Annotated[int | None, typer.Option(min=1, help="Number of batches; default: those of an epoch.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File to write all figures to.")] = None,
) -> None:
    """Say how pure target rows are and how far two sources of targets differ, in seconds, without training.

    Purity is the share of the neighbours' mass on images of the row's class, by the labels of the training split, beside that of
    even neighbours. Change is the share of the neighbours' mass that lies elsewhere. Two arms that differ no more than two seeds
    of one need not be trained.

    [bold]Examples[/bold]

    [cyan]nbclip targets inspect --preset small-nbclip --data metadata.csv --service http://127.0.0.1:8080 \\
      --source 'dk={knowledge: dk}' --source 'dk_ek={knowledge: dk_ek}'[/cyan]

    Two seeds of one representation beside another, from files:
    [cyan]nbclip targets inspect --data metadata.csv --source transe=seed1.safetensors --source transe=seed2.safetensors \\
      --source hybrid.safetensors --json targets.json[/cyan]

    The ceiling: [cyan]--source 'labels={knowledge: labels}'[/cyan]
    """
    from nbclip_trainer.config.reading import config_of, load_config
    from nbclip_trainer.training.inspection import inspect_targets

    # Any loss that takes knowledge: only its targets are looked at.
    overrides = [*as_overrides(settings, data, service, key_file), "loss={name: sm}"]
    named: list[tuple[str, TrainConfig]] = []
    for text in source:
        name, chosen = _source(text)
        of_source = [*overrides, f"targets={json.dumps(chosen)}"]
        named.append((name, load_config(preset, of_source) if preset else config_of({}, of_source)))
    with Progress(console=err(), disable=not err().is_terminal, transient=True) as bar:
        task = bar.add_task("batches", total=None)
        found = inspect_targets(
            named, batches=batches, tell=lambda done, planned: bar.update(task, completed=done, total=planned)
        )
    for table in (_sources(found), _changes(found)):
        if table.row_count:
            out().print(table)
    if json_file is not None:
        json_file.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _source(text: str) -> tuple[str, dict[str, Any]]:
    """A source's name and its settings of `targets`."""
    from nbclip_trainer.targets.snapshot import settings_of_file

    name, equals, given = text.partition("=")
    if not equals:
        return Path(text).stem, settings_of_file(Path(text).absolute())
    try:
        chosen = yaml.safe_load(given)
    except yaml.YAMLError:
        chosen = None
    if isinstance(chosen, str) and name:
        return name, settings_of_file(Path(chosen).absolute())
    if not isinstance(chosen, dict) or not name:
        raise InvalidInput(f"--source {text!r} is no file and no settings with a name", hint=_HINT)
    return name, chosen


def _sources(found: Inspection) -> Table:
    """A row a source; under its purity by each column the purity of even neighbours."""
    columns = [purity.column for purity in found.sources[0].purity]
    purities = [f"purity: {column}" for column in columns]
    others = ["neighbours' mass", "effective neighbours", "without knowledge", "without neighbours"]
    read = f"{found.batches} batches of {found.batch_size}, split {found.split or '(all)'}, seed {found.seed}"
    table = Table("source", "seeds", *purities, *others, box=None, pad_edge=False, title=read, title_justify="left")
    for one in found.sources:
        table.add_row(
            one.name,
            str(len(one.snapshots)),
            *(f"{_shown(purity.purity)}\neven: {_number(purity.chance)}" for purity in one.purity),
            f"{one.neighbour_mass:.2f}",
            "–" if one.effective_neighbours is None else f"{one.effective_neighbours:.1f}",
            f"{one.without_knowledge:.1%}",
            f"{one.without_neighbours:.1%}",
        )
    return table


def _changes(found: Inspection) -> Table:
    """A row for each pair of sources, the seeds of one source first."""
    table = Table("from", "to", "change of mass", "pairs of seeds", box=None, pad_edge=False, title="")
    for one in sorted(found.changes, key=lambda one: one.first != one.second):
        table.add_row(one.first, "its other seeds" if one.first == one.second else one.second, _shown(one.change), str(one.pairs))
    return table


def _shown(mean: Mean) -> str:
    interval = "" if mean.low is None else f" [{_number(mean.low)}, {_number(mean.high)}]"
    return f"{_number(mean.value)}{interval}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1)
