"""`nbclip train`: the first command of the walk."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from nbclip.errors import InvalidInput

from nbclip_trainer.cli.console import err, out, stop_on_signal
from nbclip_trainer.cli.options import Data, KeyFile, ServiceUrl, Settings, as_overrides

if TYPE_CHECKING:
    from nbclip_trainer.config.tree import TrainConfig

_PATIENCE_WITH_RANKS = 1800.0
_STOPPED = 130
_REQUEUE = 85
"""What HTCondor's documentation uses as `checkpoint_exit_code`; Linux's ERESTART."""


def train(
    run: Annotated[Path, typer.Option("--run", "-r", help="Folder of the run; created if missing.")],
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="Name from `nbclip presets`, or a YAML file.")] = None,
    data: Data = None,
    service: ServiceUrl = None,
    key_file: KeyFile = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint, if there is one.")] = False,
) -> None:
    """Train a model.

    [bold]Examples[/bold]

    CLIP, the baseline, needs no service:
    [cyan]nbclip train --preset tiny-clip --data metadata.csv --run runs/clip[/cyan]

    NB-CLIP takes its targets from a running service:
    [cyan]nbclip train --preset tiny-nbclip --data metadata.csv --run runs/nbclip --service http://127.0.0.1:8080[/cyan]

    Change a setting, or continue after a stop:
    [cyan]nbclip train --preset tiny-nbclip … --set targets.neighbour_mass=0.3[/cyan]
    [cyan]nbclip train --resume --run runs/nbclip[/cyan]

    Several processes, one for each GPU of this machine (docs/training.md covers clusters):
    [cyan]torchrun --nproc-per-node 8 --max-restarts 3 -m nbclip_trainer train --preset paper … -r runs/paper[/cyan]

    Exit status: 0 done; 2 wrong input; 75 the service or another process went away, resume
    later; 85 stopped by SIGUSR1, with a checkpoint: start it again; 130 stopped by Ctrl-C or
    SIGTERM, with a checkpoint.
    """
    config = _config(run, preset, as_overrides(settings, data, service, key_file), resume=resume)
    # Before torch is imported, which takes seconds: a signal must find its handler.
    with stop_on_signal() as stop, stop_on_signal(signal.SIGUSR1) as requeue:
        from nbclip_trainer.parallel.world import joined, restarts
        from nbclip_trainer.training import loop

        # A rank may wait for one that waits for the service.
        patience = config.service.give_up_after + _PATIENCE_WITH_RANKS
        again = resume or restarts() > 0
        with joined(config.device, patience=patience) as world:
            outcome = loop.train(config, run, resume=again, stop=stop, requeue=requeue, console=err(), world=world)
    if not outcome.finished:
        if world.leads:
            stopped = f"stopped after step {outcome.steps} of {outcome.planned}"
            err().print(f"{stopped}; to continue: nbclip train --resume --run {run}", soft_wrap=True)
        raise typer.Exit(_REQUEUE if outcome.requeue else _STOPPED)
    if world.leads:
        out().print(str(run), soft_wrap=True)


def _config(run: Path, preset: str | None, overrides: list[str], *, resume: bool) -> TrainConfig:
    """The preset's settings, or without one those of the run that is resumed."""
    from nbclip_trainer.config.reading import load_config
    from nbclip_trainer.config.saved import has_config, read_config
    from nbclip_trainer.runs.folder import no_run

    if preset is not None:
        return load_config(preset, overrides)
    if resume and has_config(run):
        return read_config(run, overrides)
    if resume:
        raise no_run(run, "to start one give --preset; `nbclip presets` lists them")
    raise InvalidInput("no --preset given", hint="`nbclip presets` lists them")
