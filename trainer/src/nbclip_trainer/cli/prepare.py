"""`nbclip validate` and `presets`: what is looked at before a run."""

from __future__ import annotations

from typing import Annotated

import typer
from nbclip.errors import InvalidInput
from rich.table import Table

from nbclip_trainer.cli.console import err, out
from nbclip_trainer.cli.options import Data, Settings, as_overrides


def validate(
    data: Data = None,
    settings: Settings = None,
    show: Annotated[int, typer.Option(min=1, help="Number of bad rows to show.")] = 5,
) -> None:
    """Check data before a run: columns, ids, captions, that every image can be decoded, and whether there are labels to score.

    [bold]Examples[/bold]

    [cyan]nbclip validate --data metadata.csv[/cyan]

    [cyan]nbclip validate --data pairs.tsv --set data.columns.image_id=ID --set data.columns.caption=text[/cyan]
    """
    from nbclip_trainer.config.reading import config_of
    from nbclip_trainer.data.checking import bad_images
    from nbclip_trainer.data.dataset import read_dataset
    from nbclip_trainer.data.labels import unscorable

    chosen = config_of({}, as_overrides(settings, data)).data
    dataset = read_dataset(chosen.files, columns=chosen.columns.model_dump())
    bad = bad_images(dataset, chosen)
    if bad:
        rest = f" … and {len(bad) - show} more" if len(bad) > show else ""
        raise InvalidInput(
            f"{len(bad)} of {len(dataset)} images can't be decoded:\n  " + "\n  ".join(bad[:show]) + rest,
            hint="fix or drop these rows; a run skips them, up to data.max_bad_share",
        )
    splits = dataset.frame["split"].fill_null("(none)").value_counts(sort=True)
    reason = unscorable(dataset.frame)
    if reason:
        err().print(f"[yellow]warning:[/yellow] {reason}", soft_wrap=True, highlight=False)
    out().print(f"{len(dataset)} pairs, all good: " + ", ".join(f"{count} {split}" for split, count in splits.rows()))


def presets(name: Annotated[str | None, typer.Argument(help="Preset to show in full, every key of it.")] = None) -> None:
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
