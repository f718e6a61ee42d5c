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

    Bad rows are named. Exit status: 0 a run would start; 2 it would not.
    """
    from nbclip_trainer.config.reading import config_of, load_config
    from nbclip_trainer.data.checking import bad_of_splits, check_images, note_on_frames, reasons, too_many
    from nbclip_trainer.data.labels import unscorable
    from nbclip_trainer.data.leaks import settled, shared_between_splits
    from nbclip_trainer.data.opening import open_dataset

    overrides = as_overrides(settings, data)
    config = load_config(preset, overrides) if preset else config_of({}, overrides)
    dataset = open_dataset(config.data.model_copy(update={"max_bad_row_share": 1}))
    rows, limit = len(dataset) + len(dataset.bad_rows), config.data.max_bad_row_share
    unusable = f"{len(dataset.bad_rows)} of {rows} rows can't be used"
    _tell(dataset.bad_rows, unusable, f"data.max_bad_row_share={limit:g}", show, over=len(dataset.bad_rows) > limit * rows)
    for split in filter(None, (config.data.train_split, config.data.valid_split)):
        dataset.of_split(split)
    found = check_images(dataset, config.data)
    for note in filter(None, (note_on_frames(dataset, found.frames), _note_on_captions(dataset, config))):
        out().print(note, soft_wrap=True, markup=False, highlight=False)
    undecodable = f"{len(found.bad)} of {len(dataset)} images can't be decoded"
    allowed, over = f"data.max_bad_share={config.data.max_bad_share:g}", too_many(dataset, found.bad, config.data)
    _tell(reasons(dataset, found.bad), undecodable, allowed, show, over=over)
    way_out = "put each group and image into one split"
    settled(shared_between_splits(dataset), allowed=config.data.allow_leaks, way_out=way_out)
    if reason := unscorable(dataset):
        err().print(f"[yellow]warning:[/yellow] {reason}", soft_wrap=True, highlight=False)
    bad_of = bad_of_splits(dataset, found.bad)
    splits = {split or "(none)": count - bad_of[split] for split, count in dataset.splits().items()}
    kept = sum(splits.values())
    good = "all good" if kept == rows else f"{kept} good, {rows - kept} left out"
    out().print(f"{rows} pairs, {good}: " + ", ".join(f"{count} {split}" for split, count in splits.items()))


def _note_on_captions(dataset: Dataset, config: TrainConfig) -> str:
    """How many captions the text tower would cut."""
    from nbclip_trainer.models.building import tokenizer_of
    from nbclip_trainer.models.captions import texts_of

    return str(texts_of(dataset, tokenizer_of(config.model)).cut)


def _tell(bad: Sequence[str], what: str, limit: str, show: int, *, over: bool) -> None:
    """Names the first bad rows, in a warning, or in an InvalidInput if they are over the limit at which a run stops."""
    if not bad:
        return
    rest = f" … and {len(bad) - show} more" if len(bad) > show else ""
    named = ":\n  " + "\n  ".join(bad[:show]) + rest
    if over:
        raise InvalidInput(f"{what}, more than {limit}{named}", hint="fix or drop these rows, or raise the limit")
    err().print(
        f"warning: {what}, and a run leaves them out, up to {limit}{named}", soft_wrap=True, markup=False, highlight=False
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
