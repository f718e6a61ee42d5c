"""`nbclip validate` and `presets`: what is looked at before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from nbclip.errors import InvalidInput
from rich.table import Table

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Data, Settings, as_overrides

if TYPE_CHECKING:
    from nbclip_trainer.config.tree import TrainConfig
    from nbclip_trainer.data.dataset import Dataset


def validate(
    data: Data = None,
    settings: Settings = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Whose text tower reads the captions; else CLIP's.")
    ] = None,
    show: Annotated[int, typer.Option(min=1, help="Number of bad rows to show.")] = 5,
) -> None:
    """Check data before a run: columns, ids, captions, images, groups in two splits, and whether there are labels to score.

    [bold]Examples[/bold]

    [cyan]nbclip validate --data metadata.csv[/cyan]

    [cyan]nbclip validate --data pairs.tsv --set data.columns.image_id=ID --set data.columns.caption=text[/cyan]
    """
    from nbclip_trainer.config.reading import config_of, load_config
    from nbclip_trainer.data.checking import check_images, note_on_frames, reasons
    from nbclip_trainer.data.labels import unscorable
    from nbclip_trainer.data.leaks import settled, shared_between_splits
    from nbclip_trainer.data.opening import open_dataset

    overrides = as_overrides(settings, data)
    config = load_config(preset, overrides) if preset else config_of({}, overrides)
    dataset = open_dataset(config.data.model_copy(update={"max_bad_row_share": 1}))
    rows = len(dataset) + len(dataset.bad_rows)
    _refuse(dataset.bad_rows, f"of {rows} rows can't be used", "data.max_bad_row_share", show)
    found = check_images(dataset, config.data)
    _refuse(reasons(dataset, found.bad), f"of {len(dataset)} images can't be decoded", "data.max_bad_share", show)
    way_out = "put each group and image into one split"
    settled(shared_between_splits(dataset), allowed=config.data.allow_leaks, way_out=way_out)
    if reason := unscorable(dataset):
        err().print(f"[yellow]warning:[/yellow] {reason}", soft_wrap=True, highlight=False)
    splits = dataset.splits()
    out().print(
        f"{len(dataset)} pairs, all good: " + ", ".join(f"{count} {split or '(none)'}" for split, count in splits.items())
    )
    for note in filter(None, (note_on_frames(dataset, found.frames), _note_on_captions(dataset, config))):
        out().print(note, soft_wrap=True, markup=False, highlight=False)


def _note_on_captions(dataset: Dataset, config: TrainConfig) -> str:
    """How many captions the text tower would cut."""
    from nbclip_trainer.models.building import tokenizer_of
    from nbclip_trainer.models.captions import texts_of

    return str(texts_of(dataset, tokenizer_of(config.model)).cut)


def _refuse(bad: Sequence[str], what: str, limit: str, show: int) -> None:
    """Raises InvalidInput if there are bad rows, of which it names the first."""
    if bad:
        rest = f" … and {len(bad) - show} more" if len(bad) > show else ""
        raise InvalidInput(
            f"{len(bad)} {what}:\n  " + "\n  ".join(bad[:show]) + rest,
            hint=f"fix or drop these rows; a run skips them, up to {limit}",
        )


def presets(name: Annotated[str | None, typer.Argument(help="Preset to show in full.")] = None) -> None:
    """List the presets, or show one in full.

    [bold]Examples[/bold]

    [cyan]nbclip presets[/cyan]

    [cyan]nbclip presets tiny-nbclip > mine.yaml[/cyan]   then edit it, and: [cyan]nbclip train --preset mine.yaml …[/cyan]
    """
    from nbclip_trainer.config.reading import load_config, preset_names
    from nbclip_trainer.config.tree import to_yaml

    if name is not None:
        out().print(to_yaml(load_config(name)), end="", soft_wrap=True, markup=False, highlight=False)
        return
    table = Table("preset", "what it is", box=None, pad_edge=False)
    for preset in preset_names():
        table.add_row(preset, load_config(preset).description)
    out().print(table)
