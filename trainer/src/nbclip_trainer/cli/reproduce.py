"""`nbclip reproduce`: the paper's tables, reproduced."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nbclip_trainer.cli.console import err, out, stop_on_signal
from nbclip_trainer.cli.options import Data, Device, KeyFile, ServiceUrl, Settings, as_overrides
from nbclip_trainer.cli.score import chosen_ontology, opened


class TableChoice(StrEnum):
    """Which of the paper's tables."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    TABLES = "tables"


class PresetChoice(StrEnum):
    """Size of the models."""

    MINI = "mini"
    PAPER = "paper"


def reproduce(
    table: Annotated[TableChoice, typer.Argument(help="table1: knowledge; table2: losses; tables: both, with shared runs.")],
    preset: Annotated[PresetChoice, typer.Option("--preset", "-p", help="mini: minutes per run on a CPU; paper: ViT-B/16.")],
    data: Data = None,
    service: ServiceUrl = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs and the tables.")] = Path("runs/reproduce"),
    seeds: Annotated[str, typer.Option(help="Seeds of each arm.")] = "1,2,3",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 20,
    key_file: KeyFile = None,
    settings: Settings = None,
    device: Device = "auto",
    only_tables: Annotated[
        bool, typer.Option("--only-tables", help="Train nothing; write the tables from the existing runs.")
    ] = False,
) -> None:
    """Reproduce the paper's tables: train every arm with every seed, and show which of the paper's orders hold.

    Finished runs are kept, so the same command continues after a stop. The service must have a snapshot of the training split.

    [bold]Examples[/bold]

    [cyan]nbclip reproduce tables --preset mini --data metadata.csv --service http://127.0.0.1:8080[/cyan]

    [cyan]nbclip reproduce table1 --preset paper --data roco.csv --service http://kg:8080 --set batch_size=512[/cyan]
    """
    import stamina.instrumentation

    from nbclip_trainer.experiments.arms import TABLES
    from nbclip_trainer.experiments.pages import write_table
    from nbclip_trainer.experiments.plan import Plan, run_all, seeds_of
    from nbclip_trainer.parallel.settings import DeviceSettings
    from nbclip_trainer.parallel.world import alone

    stamina.instrumentation.set_on_retry_hooks([])
    names = [name for name in TABLES if table.value in {name, "tables"}]
    arms = tuple(dict.fromkeys(arm for name in names for arm in TABLES[name]))
    overrides = (f"epochs={epochs}", f"device.name={device}", *as_overrides(settings, data, service, key_file))
    plan = Plan(preset.value, arms, tuple(seeds_of(seeds)), overrides, folder)
    if not only_tables:
        with stop_on_signal() as stop, opened(service, key_file) as client:
            where = str(alone(DeviceSettings(name=device)).device)
            if not run_all(plan, ontology=chosen_ontology(None, client), device=where, stop=stop, console=err()):
                err().print("stopped; the same command continues", soft_wrap=True)
                raise typer.Exit(130)
    for name in names:
        out().print(str(write_table(name, plan)), soft_wrap=True)
