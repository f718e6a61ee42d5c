"""The images that a run has left out because they can't be decoded, in its folder: `quarantine.jsonl`, one a line.

A run that goes on leaves them out again, until their lines are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from nbclip.errors import BrokenArtefact
from pydantic import ValidationError

from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.results import Record

_NAME = "quarantine.jsonl"


class Quarantined(Record):
    """An image that was left out: found to be bad after `step` steps, in the row at `place`."""

    image_id: str
    split: str | None
    step: int
    place: str
    reason: str


def read_quarantine(run_dir: Path) -> list[Quarantined]:
    """What a run has left out, in the order in which it was found; a last line that was cut off is found again.

    Raises:
        BrokenArtefact: a line is no such record.
    """
    return list(_lines(run_dir / _NAME))


def write_quarantine(run_dir: Path, held: Iterable[Quarantined]) -> None:
    """Writes the file anew; none where nothing was left out."""
    held = list(held)
    if not held:
        (run_dir / _NAME).unlink(missing_ok=True)
        return
    with replacing(run_dir / _NAME) as path:
        path.write_text(_text(held), encoding="utf-8")


def append_quarantine(run_dir: Path, new: Iterable[Quarantined]) -> None:
    """Adds to the file."""
    with (run_dir / _NAME).open("a", encoding="utf-8") as file:
        file.write(_text(new))


def _lines(path: Path) -> Iterator[Quarantined]:
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                yield Quarantined.model_validate_json(line)
            except ValidationError as error:
                raise BrokenArtefact(f"{path}:{number}: no image that was left out", hint="remove the line") from error


def _text(held: Iterable[Quarantined]) -> str:
    return "".join(f"{one.model_dump_json()}\n" for one in held)
