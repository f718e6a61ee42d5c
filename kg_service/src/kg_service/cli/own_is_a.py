"""An own is_a from a file."""

from __future__ import annotations

import csv
from pathlib import Path

from nbclip.errors import InvalidId, InvalidInput, os_reason
from nbclip.ids import check_cui
from nbclip.schemas.base import message_of
from nbclip.schemas.snapshots import OwnIsA
from pydantic import ValidationError

_COLUMNS = ("child", "parent")
_HINT = "its first line names the columns child and parent, each further line has one is_a: C0032285,C0024115"


def read_is_a(path: Path) -> OwnIsA:
    """The is_a of a CSV file with the columns `child` and `parent`, or of a TSV file by its name.

    Raises:
        InvalidInput: it can't be read, lacks a column, has what is no CUI, or a cycle.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if path.suffix in (".tsv", ".tab") else ",", strict=True)
            if lacking := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
                raise InvalidInput(f"{path}:1: no column {lacking[0]}", hint=_HINT)
            return OwnIsA(edges=[_edge(f"{path}:{rows.line_num}", row) for row in rows])
    except OSError as error:
        raise InvalidInput(os_reason(error), hint=_HINT) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"{path}: {error}", hint=_HINT) from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: {message_of(error.errors()[0])}", hint="leave out one edge of it") from error


def _edge(place: str, row: dict[str, str | None]) -> tuple[str, str]:
    try:
        child, parent = (check_cui((row[name] or "").strip()) for name in _COLUMNS)
    except InvalidId as error:
        raise InvalidInput(f"{place}: {error.message}", hint=error.hint) from error
    return child, parent
