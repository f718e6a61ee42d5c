"""`nbclip index`: what a run would do with its data before each start, done once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Data, Settings, as_overrides

if TYPE_CHECKING:
    from nbclip_trainer.config.tree import TrainConfig
    from nbclip_trainer.data.dataset import Dataset

Told = Callable[[str, float], None]


def index(
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder to create.")],
    data: Data = None,
    settings: Settings = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Whose text tower reads the captions; else CLIP's.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder to fill with decoded images of both splits, for data.pictures=cache.")
    ] = None,
) -> None:
    """Read, tokenize and check data once, for any number of runs, ranks and restarts.

    The folder is then given as data. After a stop, the same command continues.

    [bold]Examples[/bold]

    [cyan]nbclip index --data metadata.csv --preset paper --out metadata.index[/cyan]
    [cyan]nbclip train --preset paper --data metadata.index --run runs/paper …[/cyan]

    Look at nothing but the tables; a bad image is then left out when its turn comes:
    [cyan]nbclip index --data 'shards/*.tar' --preset paper --set data.check=none --out shards.index[/cyan]

    Decode all images now, so that a run on them begins at once:
    [cyan]nbclip index --data metadata.csv --preset paper --set data.check=none --out metadata.index --cache decoded[/cyan]
    """
    from nbclip_trainer.config.reading import config_of, load_config
    from nbclip_trainer.data.checking import check_images, note_on_frames
    from nbclip_trainer.data.indexing import write_index
    from nbclip_trainer.data.opening import open_dataset
    from nbclip_trainer.models.building import tokenizer_of
    from nbclip_trainer.models.captions import encoding_of, texts_of

    overrides = as_overrides(settings, data)
    if cache is not None:
        overrides += ["data.pictures=cache", f"data.cache={json.dumps(str(cache.absolute()))}"]
    config = load_config(preset, overrides) if preset else config_of({}, overrides)
    with _bar("stopped; the same command continues") as told:
        write_index(folder, config.data, encoding_of(config.model), told)
    dataset = open_dataset(config.data.model_copy(update={"files": (folder,)}))
    dataset.warn_of_bad_rows()
    found, cut = check_images(dataset, config.data), texts_of(dataset, tokenizer_of(config.model)).cut
    splits = ", ".join(f"{count} {split or '(none)'}" for split, count in dataset.splits().items())
    bad = f"; {len(found.bad)} images can't be decoded, and are left out" if found.bad else ""
    out().print(f"{folder}: {len(dataset)} pairs, {splits}{bad}", soft_wrap=True, markup=False, highlight=False)
    for note in filter(None, (note_on_frames(dataset, found.frames), str(cut))):
        out().print(note, soft_wrap=True, markup=False, highlight=False)
    _fill_cache(dataset, config)


def _fill_cache(dataset: Dataset, config: TrainConfig) -> None:
    """Decodes the images of both splits, as the first run with `data.pictures=cache` would; nothing without `data.cache`."""
    from nbclip_trainer.data.stored import in_cache
    from nbclip_trainer.models.building import build_model

    folder, train, valid = config.data.cache, config.data.train_split, config.data.valid_split
    if folder is None:
        return
    preprocess = build_model(config.model, seed=config.seed, with_bias=config.loss.has_bias, load_weights=False).preprocess
    with _bar("stopped; the index is whole, and the first run with data.pictures=cache decodes all images") as told:
        for split in (train, valid) if valid else (train,):
            _, found = in_cache(
                dataset.of_split(split), preprocess, config.data, folder, partial(told, f"decoding {split or 'all'}")
            )
            bad = f"; {len(found.bad)} can't be decoded, and are left out" if found.bad else ""
            out().print(f"{folder}: images of {split or 'all splits'}{bad}", soft_wrap=True, markup=False, highlight=False)


@contextmanager
def _bar(stopped: str) -> Iterator[Told]:
    """Shows what is under way and its share on a terminal; a stop ends the command with a line."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), disable=not err().is_terminal) as bar:
        task = bar.add_task("reading", total=1.0)

        def told(stage: str, share: float) -> None:
            if bar.tasks[0].description != stage:
                bar.reset(task, description=stage)
            bar.update(task, completed=share)

        try:
            yield told
        except KeyboardInterrupt:
            err().print(stopped, soft_wrap=True)
            raise typer.Exit(130) from None
