"""Bulk ingests on disk: what was asked and its body, kept before the answer leaves; and how far each is.

A job is a folder of the jobs folder, named by the digest of body and options, so that the same sent again is the same job; where
that name is taken by one that is done, or that others came after, by the digest of that name:

    order.json      `Order`: what was asked
    body.csv.gz     the body as it came (.csv, .tsv, .txt or .ndjson; .gz if it was packed); gone once the job is done or
                    cancelled, and some days after it failed (`tidying.py`)
    progress.json   `Progress` after each transaction; none before the first
    cancelled       an empty file, if somebody ended it
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from nbclip.errors import BrokenArtefact, NotFound, Unavailable
from nbclip.schemas.images import Outcome
from nbclip.schemas.jobs import JobProblem, JobState
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kg_service.graph.store import OnConflict
from kg_service.ingest.readers import Format, ReadOptions
from kg_service.storage.replacement import install, sync, write_file
from kg_service.storage.scratch import new_folder

_SUFFIXES: dict[Format, str] = {"csv": ".csv", "tsv": ".tsv", "roco": ".txt", "ndjson": ".ndjson"}
_ORDER, _PROGRESS, _CANCELLED = "order.json", "progress.json", "cancelled"
_ID_DIGITS = 64
keeping = threading.Lock()
"""Held while a job appears, is cancelled, goes on or is removed: two uploads of the same body that end at once are one job."""


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Order(_Saved):
    """What was asked of a bulk ingest; fields as those of `ReadOptions`, and `packed` (gzip)."""

    format: Format
    packed: bool = False
    columns: Mapping[str, str] = {}
    dataset: str | None = None
    split: str | None = None
    relink: bool = False
    on_conflict: OnConflict = "reject"

    @property
    def options(self) -> ReadOptions:
        """How the body is read."""
        return ReadOptions(self.format, self.columns, None, self.dataset, self.split, self.relink)

    @property
    def file_name(self) -> str:
        """The body's, in the job's folder."""
        return f"body{_SUFFIXES[self.format]}{'.gz' if self.packed else ''}"


class Progress(_Saved):
    """How far a job is.

    `attempts` counts processes that began it and wrote nothing more.
    """

    state: Literal["running", "done", "failed"] = "running"
    counts: dict[Outcome, int] = {}
    bad_rows: int = 0
    problems: tuple[JobProblem, ...] = ()
    bytes_read: int = 0
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    hint: str = ""


class _Received(_Saved):
    order: Order
    created_at: str
    bytes_total: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands on disk."""

    folder: Path
    order: Order
    created_at: str
    bytes_total: int
    progress: Progress | None
    cancelled: bool

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.folder.name

    @property
    def body(self) -> Path:
        """The file that is ingested."""
        return self.folder / self.order.file_name

    @property
    def state(self) -> JobState:
        """What `GET /jobs/{id}` says of it."""
        if self.progress is not None and self.progress.state != "running":
            return self.progress.state
        if self.cancelled:
            return "cancelled"
        return "queued" if self.progress is None else "running"

    def save(self, progress: Progress) -> None:
        """Writes how far it is; after a crash the file holds what it held before, or this."""
        write_file(self.folder / _PROGRESS, progress.model_dump_json().encode(), scratch=self.folder.parent)


class Spooled:
    """A body that is being received."""

    def __init__(self, jobs: Path, scratch: Path, order: Order) -> None:
        self._jobs, self._scratch, self._order = jobs, scratch, order
        self._digest = hashlib.sha256(order.model_dump_json().encode() + b"\n")
        self._file = (scratch / order.file_name).open("wb")

    def write(self, chunk: bytes) -> None:
        """Takes a part of it."""
        self._digest.update(chunk)
        self._file.write(chunk)

    def keep(self) -> Job:
        """Makes the whole body durable.

        If the job that came last is of the same and not done, it is given instead, and goes on if it failed or was cancelled. One
        that is done says nothing of what the store holds by now, and others that came later must not be undone by it.
        """
        with keeping:
            self._file.close()
            size = (self._scratch / self._order.file_name).stat().st_size
            received = _Received(order=self._order, created_at=datetime.now(UTC).isoformat(), bytes_total=size)
            (self._scratch / _ORDER).write_text(received.model_dump_json())
            last = max(all_jobs(self._jobs), key=_age, default=None)
            target = self._jobs / self._digest.hexdigest()
            while (target / _ORDER).is_file():
                if last and last.id == target.name and last.state != "done":
                    return _restarted(last, self._scratch / self._order.file_name)
                target = self._jobs / hashlib.sha256(target.name.encode()).hexdigest()
            install(self._scratch, target)
        return read_job(self._jobs, target.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def receiving(jobs: Path, order: Order) -> Iterator[Spooled]:
    """A place for a body; what is not kept is removed. Raises Unavailable if there is no room, in the block too."""
    try:
        with new_folder(jobs) as scratch, Spooled(jobs, scratch, order) as spooled:
            yield spooled
    except OSError as error:
        raise Unavailable(f"the body can't be kept: {error.strerror or error}", hint="make room in the data folder") from error


def read_job(jobs: Path, job_id: str) -> Job:
    """The job of this id.

    Raises:
        NotFound: there is none.
        BrokenArtefact: its files are damaged.
    """
    folder = jobs / job_id
    if len(job_id) != _ID_DIGITS or not job_id.isalnum() or not (folder / _ORDER).is_file():
        raise NotFound(f"no job {job_id!r:.80}", hint="GET /jobs lists them")
    try:
        received = _Received.model_validate_json((folder / _ORDER).read_bytes())
        path = folder / _PROGRESS
        progress = Progress.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError as error:
        raise BrokenArtefact(f"{folder} is damaged", hint="remove it, and send the body again") from error
    return Job(folder, received.order, received.created_at, received.bytes_total, progress, (folder / _CANCELLED).exists())


def all_jobs(jobs: Path, having: str = _ORDER) -> list[Job]:
    """All that can be read, or those of them that have such a file, the oldest first."""
    found = []
    for path in jobs.glob(f"*/{having}"):
        try:
            found.append(read_job(jobs, path.parent.name))
        except (NotFound, BrokenArtefact):
            continue
    return sorted(found, key=_age)


def _age(job: Job) -> tuple[str, str]:
    return job.created_at, job.id


def pending(jobs: Path) -> list[Job]:
    """Those that wait for work, the oldest first; of those that are done no file is read, for this is asked every second."""
    return [job for job in all_jobs(jobs, "body.*") if job.state in ("queued", "running")]


def has_work(jobs: Path) -> bool:
    """Whether any waits."""
    return bool(pending(jobs))


def is_cancelled(job: Job) -> bool:
    """Whether somebody has ended it by now."""
    return (job.folder / _CANCELLED).exists()


def cancel(job: Job) -> None:
    """Ends a job before its next transaction and removes its body; what is stored stays. One that has ended stays as it is."""
    with keeping:
        if job.state in ("queued", "running"):
            (job.folder / _CANCELLED).touch()
            sync(job.folder)
            # A process that reads it reads on.
            job.body.unlink(missing_ok=True)


def _restarted(job: Job, body: Path) -> Job:
    """The job as it stands; one that failed or was cancelled goes on from where it was, with the body that came again."""
    if job.state not in ("failed", "cancelled"):
        return job
    if not job.body.exists():
        sync(body)
        body.replace(job.body)
    if job.state == "failed" and job.progress is not None:
        job.save(job.progress.model_copy(update={"state": "running", "attempts": 0, "error": "", "hint": ""}))
    (job.folder / _CANCELLED).unlink(missing_ok=True)
    sync(job.folder)
    return read_job(job.folder.parent, job.id)
