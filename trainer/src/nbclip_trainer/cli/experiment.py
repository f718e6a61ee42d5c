"""`nbclip experiment`: a grid of arms, trained, scored and judged."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from nbclip.errors import InvalidInput
from rich.table import Table

from nbclip_trainer.cli.console import err, out, stop_on_signal
from nbclip_trainer.cli.options import Data, Device, KeyFile, ServiceUrl, Settings, as_overrides
from nbclip_trainer.cli.score import opened

if TYPE_CHECKING:
    from nbclip.client import Service

    from nbclip_trainer.experiments.layout import Layout


def experiment(
    grid: Annotated[str | None, typer.Argument(help="YAML file of a grid, or the name of a shipped one.")] = None,
    data: Data = None,
    service: ServiceUrl = None,
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder of the runs and the page.")] = Path("runs/experiment"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs side by side, each in a process with its share of the cores.")] = 1,
    key_file: KeyFile = None,
    settings: Settings = None,
    device: Device = "auto",
    only_page: Annotated[bool, typer.Option("--only-page", help="Train nothing; write the page from the existing runs.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the shipped grids.")] = False,
) -> None:
    """Run a grid: every arm with every seed, its free settings chosen on the validation split, and judge its claims.

    Finished runs are kept, so the same command continues after a stop. The service publishes the snapshots that arms need, for
    which a key needs the scope admin.

    [bold]Examples[/bold]

    [cyan]nbclip experiment tables --data metadata.csv --service http://127.0.0.1:8080 --out runs/tables --jobs 2[/cyan]

    [cyan]nbclip experiment mine.yaml --data metadata.csv --service http://kg:8080 --out runs/mine --set epochs=20[/cyan]

    [cyan]nbclip experiment --list[/cyan]
    """
    from nbclip_trainer.experiments.reading import grid_names, read_grid

    if show_list:
        table = Table("grid", "what it is", box=None, pad_edge=False)
        for name in grid_names():
            table.add_row(name, read_grid(name).description)
        out().print(table)
        return
    if grid is None:
        raise InvalidInput("no grid given", hint="a YAML file, or one of `nbclip experiment --list`")
    overrides = (f"device.name={device}", *as_overrides(settings, data, service, key_file))
    from nbclip_trainer.experiments.layout import Layout

    layout = Layout(read_grid(grid), folder, overrides)
    if not only_page:
        _run(layout, service, key_file, jobs, device)
    from nbclip_trainer.experiments.gathering import write_page

    again = ["nbclip", "experiment", grid, *(part for path in data or () for part in ("--data", str(path))), "--out", str(folder)]
    again += [*(("--service", service) if service else ()), *(part for one in settings or () for part in ("--set", one))]
    out().print(write_page(layout, shlex.join(again))[1], soft_wrap=True)


def _run(layout: Layout, service: str | None, key_file: Path | None, jobs: int, device: str) -> None:
    """Makes what is missing; exits with 130 where it was stopped, raises where runs failed."""
    # Before torch is imported, which takes seconds: a signal must find its handler.
    with stop_on_signal() as stop, opened(service, key_file) as client:
        from nbclip_trainer.evaluation.linking import link_captions
        from nbclip_trainer.experiments.experiment import Means, check, run_experiment
        from nbclip_trainer.experiments.gate import inspect_arms
        from nbclip_trainer.experiments.linked import link_pictures
        from nbclip_trainer.experiments.running import devices_of, failed

        def say(line: str) -> None:
            err().print(line, soft_wrap=True, markup=False, highlight=False)

        check(layout)
        snapshots = _snapshots(layout, client, say)
        if layout.grid.linked_cuis:
            link_pictures(layout, partial(link_captions, _needed(client, "captions are to be linked (linked_cuis)")), say)
        inspect_arms(layout, snapshots, say)
        failures = run_experiment(layout, snapshots, Means(jobs, devices_of(device), stop, say))
        if stop.is_set():
            err().print("stopped; the same command continues", soft_wrap=True)
            raise typer.Exit(130)
        if failures:
            raise failed(failures, layout.folder)


def _snapshots(layout: Layout, client: Service | None, say: Callable[[str], None]) -> dict[str, str]:
    """The snapshots that arms need; without a service none may be missing."""
    from nbclip.schemas.snapshots import PublishRequest

    from nbclip_trainer.evaluation.linking import link_captions
    from nbclip_trainer.experiments.experiment import edges_of_labels
    from nbclip_trainer.experiments.recipes import needed_snapshots, publish_all

    needed = needed_snapshots(layout.grid)
    if not needed:
        return {}
    service = _needed(client, f"snapshots of a service are needed ({', '.join(needed)})")
    config = layout.config(layout.reported()[0], {}, {})
    return publish_all(
        layout.grid,
        layout.folder,
        lambda body: service.publish(PublishRequest.model_validate(body)).id,
        lambda columns: edges_of_labels(config, columns, lambda captions: link_captions(service, captions).cuis),
        say,
    )


def _needed(client: Service | None, why: str) -> Service:
    if client is None:
        raise InvalidInput(f"{why}, and no URL is given", hint="--service http://127.0.0.1:8080")
    return client
