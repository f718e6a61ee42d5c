"""What a folder says of each shard.

    plan.json               `plan.Plan`
    linked/00007.parquet    images of the shard with their edges (`tables.py`)
    linked/00007.bad.ndjson rows that can't be used, an object each
    done/00007.json         `Done`, written last: the two files are whole
    failed/00007.json       `Failed`; goes once the shard is done
    published/ID.json       `Published`, of each snapshot

Each file is written aside, flushed and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from nbclip.errors import BrokenArtefact
from pydantic import BaseModel, ConfigDict, ValidationError

from kg_service.storage.artefact import FileRecord, check_files
from kg_service.storage.flushing import make_folder
from kg_service.storage.replacement import write_file
from kg_service.vocabulary.model import BadRow

LINKED, DONE, FAILED, PUBLISHED = "linked", "done", "failed", "published"


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Done(_Record):
    """What a linked shard holds.

    Attributes:
        plan: its id.
        images: rows that are in `linked`.
        bad_rows: rows that can't be used.
        kinds: of those, how many of each.
        without_cuis: images given an empty list of CUIs.
        unknown_cuis: CUIs given that the vocabulary lacks: `FILE:LINE` where each was met first.
        files: of `linked`.
        cpu_s: CPU seconds that linking took; it does not count when shards are compared.
        wall_s: seconds that linking took; 0 in records of earlier versions.
        ended: when, in seconds of the epoch.
    """

    plan: str
    images: int
    bad_rows: int
    kinds: dict[str, int]
    without_cuis: int
    unknown_cuis: dict[str, str]
    files: list[FileRecord]
    cpu_s: float
    wall_s: float = 0.0
    ended: float

    @property
    def rows(self) -> int:
        """Rows read, good and bad."""
        return self.images + self.bad_rows


class Failed(_Record):
    """Why a shard could not be linked."""

    plan: str
    reason: str
    hint: str


class Published(_Record):
    """A snapshot that was made of the batch.

    Attributes:
        plan: its id.
        snapshot: its id.
        data: the data folder that has it.
        part: the dataset and split that it covers, such as `split=train`; empty if it covers all.
        ended: when, in seconds of the epoch.
    """

    plan: str
    snapshot: str
    data: Path
    part: str
    ended: float


Record = TypeVar("Record", bound=_Record)


def linked_path(folder: Path, number: int) -> Path:
    """The table of a shard."""
    return folder / LINKED / f"{number:05}.parquet"


def bad_path(folder: Path, number: int) -> Path:
    """The bad rows of a shard."""
    return folder / LINKED / f"{number:05}.bad.ndjson"


def make_folders(folder: Path) -> None:
    """Makes those that records lie in."""
    for name in (LINKED, DONE, FAILED):
        make_folder(folder / name)


def bad_content(rows: Iterable[BadRow]) -> bytes:
    """Bad rows as a file."""
    return b"".join(json.dumps([row.file, row.line, row.reason], ensure_ascii=False).encode() + b"\n" for row in rows)


def read_bad(folder: Path, number: int) -> Iterator[BadRow]:
    """The bad rows of a shard that is done, in order."""
    with bad_path(folder, number).open(encoding="utf-8") as file:
        yield from (BadRow(*json.loads(line)) for line in file)


def note_done(folder: Path, number: int, done: Done) -> None:
    """Says that a shard is linked; it no longer failed."""
    write_file(_record(folder, DONE, number), done.model_dump_json(indent=1).encode())
    _record(folder, FAILED, number).unlink(missing_ok=True)


def note_failed(folder: Path, number: int, failed: Failed) -> None:
    """Says why a shard is not linked."""
    write_file(_record(folder, FAILED, number), failed.model_dump_json(indent=1).encode())


def read_done(folder: Path, plan: str, number: int) -> Done | None:
    """What a folder says of a shard that is linked by this plan; None if it says nothing that can be read."""
    return _read(Done, _record(folder, DONE, number), plan)


def read_failed(folder: Path, plan: str, number: int) -> Failed | None:
    """Why a shard failed when it was last tried; None if it did not."""
    return _read(Failed, _record(folder, FAILED, number), plan)


def note_published(folder: Path, published: Published) -> None:
    """Says that a snapshot was made of the batch."""
    make_folder(folder / PUBLISHED)
    write_file(folder / PUBLISHED / f"{published.snapshot}.json", published.model_dump_json(indent=1).encode())


def read_published(folder: Path, plan: str) -> list[Published]:
    """The snapshots that were made of this plan, in order of time."""
    found = (_read(Published, path, plan) for path in (folder / PUBLISHED).glob("*.json"))
    return sorted((each for each in found if each is not None), key=lambda each: each.ended)


def check_linked(folder: Path, number: int, done: Done) -> None:
    """Raises BrokenArtefact where a shard's files are not those that `done` names."""
    if {file.name for file in done.files} != {linked_path(folder, number).name, bad_path(folder, number).name}:
        raise BrokenArtefact(f"{_record(folder, DONE, number)} names other files", hint="kg-service batch run links it again")
    check_files(folder / LINKED, done.files, hint="kg-service batch run links it again", digests=True)


def _record(folder: Path, kind: str, number: int) -> Path:
    return folder / kind / f"{number:05}.json"


def _read(record: type[Record], path: Path, plan: str) -> Record | None:
    with suppress(OSError, ValidationError):
        found = record.model_validate_json(path.read_bytes())
        return found if getattr(found, "plan", None) == plan else None
    return None
