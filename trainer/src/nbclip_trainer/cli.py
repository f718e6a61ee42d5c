"""The command `nbclip`. Only here is anything printed, and only here do errors become exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from nbclip.errors import InvalidInput, NBClipError
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from nbclip_trainer.evaluation.ontology import Ontology

# torch takes seconds to import: what needs it is imported by the command that runs it.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train image-text models with soft targets from a knowledge graph, and score what they retrieve.",
)


_PATIENCE_WITH_RANKS = 1800.0


class Which(StrEnum):
    """Which checkpoint of a run."""

    LAST = "last"
    BEST = "best"


class TableChoice(StrEnum):
    """Which of the paper's tables."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    TABLES = "tables"


class PresetChoice(StrEnum):
    """Size of the models."""

    MINI = "mini"
    PAPER = "paper"


Data = Annotated[
    list[Path] | None,
    typer.Option("--data", "-d", help="Table (.csv, .tsv, .parquet), shard (.tar), folder of ROCO or ROCOv2; several times."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="key=value over the preset, such as optim.lr=1e-3; several times.")
]
ServiceUrl = Annotated[str | None, typer.Option("--service", help="URL of the knowledge-graph service.")]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="File with the service's key; or set NBCLIP_SERVICE_KEY.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


@app.command(rich_help_panel="Train")
def train(
    run: Annotated[Path, typer.Option("--run", "-r", help="Folder of the run; made if missing.")],
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="Name from `nbclip presets`, or a YAML file.")] = None,
    data: Data = None,
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")] = False,
) -> None:
    """Train a model.

    [bold]Examples[/bold]

    CLIP, the baseline, needs no service:
    [cyan]nbclip train --preset tiny-clip --data metadata.csv --run runs/clip[/cyan]

    NB-CLIP, its targets from a running service:
    [cyan]nbclip train --preset tiny-nbclip --data metadata.csv --run runs/nbclip --service http://127.0.0.1:8080[/cyan]

    Another share of mass for the neighbours, and go on after a stop:
    [cyan]nbclip train --preset tiny-nbclip … --set targets.neighbour_mass=0.3[/cyan]
    [cyan]nbclip train --resume --run runs/nbclip[/cyan]

    Several processes, one for each GPU of this machine (docs/training.md has clusters):
    [cyan]torchrun --nproc-per-node 8 --max-restarts 3 -m nbclip_trainer train --preset paper … -r runs/paper[/cyan]

    Exit status: 0 done; 2 wrong input; 75 the service or another process went away, resume
    later; 130 stopped by Ctrl-C, with a checkpoint.
    """
    import stamina.instrumentation

    from nbclip_trainer.parallel.world import joined, restarts
    from nbclip_trainer.presets import load_config
    from nbclip_trainer.training import loop

    # The client warns in its own words, once in ten seconds.
    stamina.instrumentation.set_on_retry_hooks([])
    console = _err()
    overrides = [*(settings or []), *_as_overrides(data, service, key_file)]
    config = load_config(preset or _preset_of(run, resume=resume), overrides)
    # A rank may wait for one that waits for the service.
    patience = config.service.give_up_after + _PATIENCE_WITH_RANKS
    with _stop_on_signal(console) as stop, joined(config.device, patience=patience) as world:
        outcome = loop.train(config, run, resume=resume or restarts() > 0, stop=stop, console=console, world=world)
    if not outcome.finished:
        if world.leads:
            stopped = f"stopped after step {outcome.steps} of {outcome.planned}"
            console.print(f"{stopped}; go on: nbclip train --resume --run {run}", soft_wrap=True)
        raise typer.Exit(130)
    if world.leads:
        _out().print(str(run), soft_wrap=True)


@app.command(rich_help_panel="Score")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: Data = None,
    checkpoint: Annotated[Which | None, typer.Option(help="Default: the run's checkpoint.select.")] = None,
    split: Annotated[str, typer.Option(help="Split whose pictures are queries and gallery.")] = "retrieval",
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    ancestors: Annotated[Path | None, typer.Option(help="JSON of CUI to all its ancestors, instead of the service.")] = None,
    min_class_size: Annotated[int, typer.Option(min=2, help="Smaller classes are distractors, never queries.")] = 30,
    device: Device = "auto",
) -> None:
    """Score a run: P@K, mAP and CUI@K in every direction, with intervals, beside raw pixels and chance.

    P@K needs one of the columns modality, organ, modality_organ; CUI@K needs cuis. A column group keeps a query's own case
    out of its gallery.

    [bold]Examples[/bold]

    [cyan]nbclip evaluate runs/nbclip[/cyan]

    With cui_onto@K, whose is_a comes from a running service:
    [cyan]nbclip evaluate runs/nbclip --service http://127.0.0.1:8080[/cyan]

    [cyan]nbclip evaluate runs/nbclip --data metadata.csv --split retrieval --checkpoint best[/cyan]
    """
    from nbclip_trainer.config import DeviceSettings
    from nbclip_trainer.evaluation.evaluate import evaluate_run
    from nbclip_trainer.parallel.world import alone
    from nbclip_trainer.runs.folder import read_config
    from nbclip_trainer.runs.results import Protocol

    with _ontology(ancestors, service, key_file) as ontology:
        metrics = evaluate_run(
            run,
            data or (),
            checkpoint=read_config(run).checkpoint.select if checkpoint is None else checkpoint.value,
            protocol=Protocol(class_split=split, cui_splits=(split,), minimum_class_size=min_class_size),
            ontology=ontology,
            device=str(alone(DeviceSettings(name=device)).device),
            say=_err().print,
        )
    _out().print(str(metrics), soft_wrap=True)


@app.command(rich_help_panel="Score")
def report(
    runs: Annotated[list[Path], typer.Argument(help="Folders of evaluated runs, at most six.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    baseline: Annotated[Path | None, typer.Option(help="Run to compare with; default: the first without knowledge.")] = None,
) -> None:
    """Compare evaluated runs in one HTML file: curves, figures with intervals, a gallery of what was retrieved.

    [bold]Examples[/bold]

    [cyan]nbclip report runs/clip runs/nbclip --out report.html[/cyan]
    """
    from nbclip_trainer.report.report import write_report

    _out().print(str(write_report(runs, out, baseline=baseline).absolute()), soft_wrap=True)


@app.command(rich_help_panel="Score")
def reproduce(
    table: Annotated[TableChoice, typer.Argument(help="table1: knowledge; table2: losses; tables: both, sharing runs.")],
    preset: Annotated[PresetChoice, typer.Option("--preset", "-p", help="mini: minutes a run on a CPU; paper: ViT-B/16.")],
    data: Data = None,
    service: ServiceUrl = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs and the tables.")] = Path("runs/reproduce"),
    seeds: Annotated[str, typer.Option(help="Seeds of each arm.")] = "1,2,3",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 20,
    key_file: KeyFile = None,
    settings: Settings = None,
    device: Device = "auto",
    only_tables: Annotated[bool, typer.Option("--only-tables", help="Train nothing, write the tables of what is there.")] = False,
) -> None:
    """Run the paper's tables again: every arm with every seed, its rows beside the paper's, and which of its orders hold.

    What is done already is left as it is, so the same command goes on after a stop. The service must have a snapshot of the
    training split.

    [bold]Examples[/bold]

    [cyan]nbclip reproduce tables --preset mini --data metadata.csv --service http://127.0.0.1:8080[/cyan]

    [cyan]nbclip reproduce table1 --preset paper --data roco.csv --service http://kg:8080 --set batch_size=512[/cyan]
    """
    import stamina.instrumentation

    from nbclip_trainer.config import DeviceSettings
    from nbclip_trainer.experiments.arms import TABLES
    from nbclip_trainer.experiments.runs import Plan, run_all, seeds_of
    from nbclip_trainer.parallel.world import alone

    stamina.instrumentation.set_on_retry_hooks([])
    names = [name for name in TABLES if table.value in {name, "tables"}]
    arms = tuple(dict.fromkeys(arm for name in names for arm in TABLES[name]))
    overrides = (f"epochs={epochs}", f"device.name={device}", *(settings or []), *_as_overrides(data, service, key_file))
    plan = Plan(preset.value, arms, tuple(seeds_of(seeds)), overrides, out)
    if not only_tables:
        with _stop_on_signal(_err()) as stop, _ontology(None, service, key_file) as ontology:
            where = str(alone(DeviceSettings(name=device)).device)
            if not run_all(plan, ontology=ontology, device=where, stop=stop, console=_err()):
                _err().print("stopped; the same command goes on", soft_wrap=True)
                raise typer.Exit(130)
    from nbclip_trainer.experiments.pages import write_table

    for name in names:
        _out().print(str(write_table(name, plan)), soft_wrap=True)


@app.command(rich_help_panel="Score")
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.")],
    checkpoint: Annotated[Which | None, typer.Option(help="Default: the run's checkpoint.select.")] = None,
) -> None:
    """Write a folder that open_clip loads and the Hugging Face hub takes, with a model card.

    [bold]Examples[/bold]

    [cyan]nbclip export runs/nbclip --out nbclip-model[/cyan]
    [cyan]python -c 'import open_clip; open_clip.create_model("local-dir:nbclip-model")'[/cyan]
    """
    from nbclip_trainer.models.export import export_run
    from nbclip_trainer.runs.folder import read_config

    chosen = read_config(run).checkpoint.select if checkpoint is None else checkpoint.value
    _out().print(str(export_run(run, out, chosen)), soft_wrap=True)


@app.command(rich_help_panel="Train")
def validate(
    data: Data = None,
    settings: Settings = None,
    show: Annotated[int, typer.Option(min=1, help="Bad rows to show.")] = 5,
) -> None:
    """Check data before a run: columns, ids, captions, and that every picture can be decoded.

    [bold]Examples[/bold]

    [cyan]nbclip validate --data metadata.csv[/cyan]

    [cyan]nbclip validate --data pairs.tsv --set data.columns.image_id=ID --set data.columns.caption=text[/cyan]
    """
    from nbclip_trainer.data.dataset import read_dataset
    from nbclip_trainer.data.pictures import bad_pictures
    from nbclip_trainer.presets import check_config, override_tree

    config = check_config(override_tree([*(settings or []), *_as_overrides(data, None, None)]))
    dataset = read_dataset(config.data.files, columns=config.data.columns.model_dump())
    bad = bad_pictures(dataset, config.data)
    if bad:
        rest = f" … and {len(bad) - show} more" if len(bad) > show else ""
        raise InvalidInput(
            f"{len(bad)} of {len(dataset)} pictures can't be decoded:\n  " + "\n  ".join(bad[:show]) + rest,
            hint="mend or drop these rows; a run leaves them out, up to data.max_bad_share",
        )
    splits = dataset.frame["split"].fill_null("(none)").value_counts(sort=True)
    _out().print(f"{len(dataset)} pairs, all good: " + ", ".join(f"{count} {split}" for split, count in splits.rows()))


@app.command(rich_help_panel="Train")
def presets(name: Annotated[str | None, typer.Argument(help="Show this one's settings, every key of them.")] = None) -> None:
    """List the presets, or show one in full.

    [bold]Examples[/bold]

    [cyan]nbclip presets[/cyan]

    [cyan]nbclip presets tiny-nbclip > mine.yaml[/cyan]   then edit it, and: [cyan]nbclip train --preset mine.yaml …[/cyan]
    """
    from nbclip_trainer.config import to_yaml
    from nbclip_trainer.presets import load_config, preset_names

    if name is not None:
        _out().print(to_yaml(load_config(name)), end="", soft_wrap=True, markup=False, highlight=False)
        return
    table = Table("preset", "what it is", box=None, pad_edge=False)
    for preset in preset_names():
        table.add_row(preset, load_config(preset).description)
    _out().print(table)


def main() -> None:
    """Runs the command; an expected error becomes one line, its hint, and its exit status."""
    errors, rank = _err(), _rank()
    handler = RichHandler(console=errors, show_path=False, show_time=False)
    # What is worth a warning on one rank mostly is on all.
    logging.basicConfig(level=logging.ERROR if rank else logging.WARNING, format="%(message)s", handlers=[handler])
    at = f"rank {rank}: " if rank else ""
    try:
        app()
    except NBClipError as error:
        errors.print(f"{at}[red]error:[/red] {escape(error.message)}", soft_wrap=True, highlight=False)
        if error.hint:
            errors.print(f"{at}[yellow]hint:[/yellow] {escape(error.hint)}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)
    except OSError as error:
        errors.print(f"{at}[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        errors.print(f"{at}[yellow]hint:[/yellow] look at the path, its permissions and the room on the disk", soft_wrap=True)
        sys.exit(2)


def _rank() -> int:
    """This process's rank as torchrun or srun tells it; without torch, which is slow to import."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


@contextmanager
def _ontology(ancestors: Path | None, service: str | None, key_file: Path | None) -> Iterator[Ontology | None]:
    """is_a from a file, else from a service, else none."""
    from nbclip_trainer.evaluation.ontology import file_ontology, service_ontology
    from nbclip_trainer.targets.service import service_client

    if ancestors is not None or service is None:
        yield None if ancestors is None else file_ontology(ancestors)
        return
    with service_client(service, key_file) as client:
        yield service_ontology(client)


def _preset_of(run: Path, *, resume: bool) -> str:
    """The run's own settings, where it is resumed."""
    if resume and (run / "config.yaml").is_file():
        return str(run / "config.yaml")
    raise InvalidInput("no --preset given", hint="`nbclip presets` lists them")


def _as_overrides(data: list[Path] | None, service: str | None, key_file: Path | None) -> list[str]:
    """Options that stand for a key of the settings; paths made absolute, so that the run knows them from anywhere."""
    chosen = {
        "data.files": [str(path.absolute()) for path in data] if data else None,
        "service.url": service,
        "service.key_file": str(key_file.absolute()) if key_file else None,
    }
    return [f"{key}={json.dumps(value)}" for key, value in chosen.items() if value is not None]


@contextmanager
def _stop_on_signal(console: Console) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second one ends the process at once."""
    stop, process = threading.Event(), os.getpid()

    def ask(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        # Processes that decode pictures inherit this handler, and torchrun signals them too.
        if os.getpid() == process and _rank() == 0:
            console.print("stopping after this step, with a checkpoint; once more to stop at once")
        stop.set()

    before = {signum: signal.signal(signum, ask) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@cache
def _err() -> Console:
    """One console for progress, warnings and errors, so that none breaks into the other."""
    return Console(stderr=True)


def _out() -> Console:
    return Console()
