"""Options that several commands share, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from nbclip.errors import InvalidInput
from nbclip.files.layout import Format

from kg_service.app.sweep import sweep
from kg_service.cli.shown.console import complain, stderr
from kg_service.config import Settings, load_settings
from kg_service.linking.linkers import LINKERS
from kg_service.vocabulary.model import BadRow

BAD_ROWS_SHOWN = 20
_PANEL = "Settings"

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; default: data.", rich_help_panel=_PANEL)]
Store = Annotated[
    str | None,
    typer.Option(
        help="Graph store, such as neo4j://localhost:7687; default: graph.sqlite in the data folder.", rich_help_panel=_PANEL
    ),
]
VocabularyFolder = Annotated[
    Path | None,
    typer.Option("--vocabulary", help="Compiled vocabulary; default: vocabulary/ in the data folder.", rich_help_panel=_PANEL),
]
Prior = Annotated[Path | None, typer.Option("--prior", help="Prior made by `linker fit`; default: none.", rich_help_panel=_PANEL)]
LinkerName = Annotated[
    str | None, typer.Option("--linker", help=f"Which linker to use: {', '.join(LINKERS)}.", rich_help_panel=_PANEL)
]
KeysFile = Annotated[Path | None, typer.Option(help="Keys file; default: keys.json in the data folder.", rich_help_panel=_PANEL)]
FileFormat = Annotated[Format | None, typer.Option(help="Format of the file; default: by its name and content.")]
Separator = Annotated[
    str | None, typer.Option(help="What separates columns: comma, tab, semicolon or bar; default: what the header has.")
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=COLUMN",
        help="Column or key to read a field from. caption=findings,impression joins two, caption='findings|impression' takes "
        "the first that has text.",
    ),
]
RowsDataset = Annotated[str | None, typer.Option("--dataset", help="Dataset for rows that have none.")]
RowsSplit = Annotated[str | None, typer.Option("--split", help="Split for rows that have none.")]
Relink = Annotated[bool, typer.Option("--relink", help="Link every caption, even where the row has CUIs.")]
MaxBad = Annotated[int, typer.Option("--max-bad", min=0, help="Number of bad or rejected rows to tolerate.")]
MaxBadRowShare = Annotated[
    float,
    typer.Option("--max-bad-row-share", min=0, max=1, help="Share of bad rows to tolerate: damaged, or without a caption."),
]
Shown = Annotated[int, typer.Option("--show", min=1, help="Number of bad or rejected rows to show.")]


def settings_of(**options: Any) -> Settings:
    """The settings with these options; first removes what killed commands left. Errors as `load_settings`."""
    settings = load_settings(**options)
    sweep(settings)
    return settings


def columns(pairs: Iterable[str]) -> dict[str, str]:
    """Column names by field, from `FIELD=COLUMN` pairs.

    Raises:
        InvalidInput: a pair has no `=`, or no column.
    """
    found = dict(pair.partition("=")[::2] for pair in pairs)
    for name, column in found.items():
        if not column:
            raise InvalidInput(f"--column {name}: no '='", hint="write it as --column caption=text")
    return found


def listed(values: Sequence[str] | None, option: str = "") -> tuple[str, ...]:
    """The values of an option that may be repeated, and have several separated by commas.

    Raises:
        InvalidInput: `option` is named, was given, and has no value.
    """
    found = tuple(part.strip() for value in values or () for part in value.split(",") if part.strip())
    if option and values and not found:
        raise InvalidInput(f"{option} has no value", hint=f"leave {option} out, or give one")
    return found


def end_if_bad(
    rows: Sequence[BadRow], count: int, max_bad: int, mend: str = "fix them", kept: str = "stored", show: int = BAD_ROWS_SHOWN
) -> None:
    """Prints the first `show` bad rows; exits with status 1 if there are more than `max_bad`."""
    for row in rows[:show]:
        stderr().print(str(row), soft_wrap=True, markup=False)
    if count > show:
        stderr().print(f"… {count - show} more")
    if count > max_bad:
        complain(f"{count} bad rows; the others are {kept}", f"{mend} and run it again, or tolerate them: --max-bad {count}")
        raise typer.Exit(1)
