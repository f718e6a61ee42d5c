"""`nbclip index`: what a run would do with its data before each start, done once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Data, Settings, as_overrides

if TYPE_CHECKING:
    from nbclip_trainer.data.parts import Encoding
    from nbclip_trainer.data.settings import DataSettings


def index(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to create.")],
    data: Data = None,
    settings: Settings = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Whose text tower reads the captions; else CLIP's.")
    ] = None,
) -> None:
    """Read, tokenize and check data once, for any number of runs, ranks and restarts.

    The folder is then given as data. After a stop, the same command continues.

    [bold]Examples[/bold]

    [cyan]nbclip index --data metadata.csv --preset paper --out metadata.index[/cyan]
    [cyan]nbclip train --preset paper --data metadata.index --run runs/paper …[/cyan]

    Look at nothing but the tables; a bad image is then left out when its turn comes:
    [cyan]nbclip index --data 'shards/*.tar' --preset paper --set data.check=none --out shards.index[/cyan]
    """
    from nbclip_trainer.config.reading import config_of, load_config
    from nbclip_trainer.data.checking import check_images, note_on_frames
    from nbclip_trainer.data.opening import open_dataset
    from nbclip_trainer.models.building import tokenizer_of
    from nbclip_trainer.models.captions import encoding_of, texts_of

    overrides = as_overrides(settings, data)
    config = load_config(preset, overrides) if preset else config_of({}, overrides)
    _made(folder, config.data, encoding_of(config.model))
    dataset = open_dataset(config.data.model_copy(update={"files": (folder,)}))
    dataset.warn_of_bad_rows()
    found, cut = check_images(dataset, config.data), texts_of(dataset, tokenizer_of(config.model)).cut
    splits = ", ".join(f"{count} {split or '(none)'}" for split, count in dataset.splits().items())
    bad = f"; {len(found.bad)} images can't be decoded, and are left out" if found.bad else ""
    out().print(f"{folder}: {len(dataset)} pairs, {splits}{bad}", soft_wrap=True, markup=False, highlight=False)
    for note in filter(None, (note_on_frames(dataset, found.frames), str(cut))):
        out().print(note, soft_wrap=True, markup=False, highlight=False)


def _made(folder: Path, settings: DataSettings, encoding: Encoding) -> None:
    """Makes the index, under a bar on a terminal."""
    from nbclip_trainer.data.indexing import write_index

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), disable=not err().is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)

        def told(stage: str, share: float) -> None:
            if bar.tasks[0].description != stage:
                bar.reset(task, description=stage)
            bar.update(task, completed=share)

        try:
            write_index(folder, settings, encoding, told)
        except KeyboardInterrupt:
            err().print("stopped; the same command continues", soft_wrap=True)
            raise typer.Exit(130) from None
