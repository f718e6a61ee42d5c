"""What is kept of a job: what was asked, and how far it is.

A job is a folder of the jobs folder, which its id names:

    order.json      what was asked: `IngestOrder` or `PublishOrder`
    body.csv.gz     of a bulk ingest the body as it came (.csv, .tsv, .txt or .ndjson; .gz if it was packed)
    waiting         of a publication an empty file
    progress.json   `Progress`; none before the work begins
    cancelled       an empty file, if somebody ended it

Body and `waiting` go once the job is done or cancelled, and some days after it failed (`tidying.py`): whether there is something
to do is asked every second, and of jobs that are over no file is read then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nbclip.schemas.images import Outcome, UnknownCui
from nbclip.schemas.jobs import JobProblem, JobState
from nbclip.schemas.snapshots import PublishRequest
from pydantic import BaseModel, ConfigDict, Field

from kg_service.graph.store import OnConflict
from kg_service.ingest.readers import ReadOptions
from kg_service.storage.replacement import write_file

Kind = Literal["ingest", "publish"]
ORDER, PROGRESS, CANCELLED = "order.json", "progress.json", "cancelled"
UNDONE: Mapping[Kind, str] = {"ingest": "body.*", "publish": "waiting"}
"""The file that a job which waits for work has, by its kind."""
BodyFormat = Literal["csv", "tsv", "roco", "ndjson"]
_SUFFIXES: dict[BodyFormat, str] = {"csv": ".csv", "tsv": ".tsv", "roco": ".txt", "ndjson": ".ndjson"}


class _Asked(BaseModel):
    """A field that this version doesn't know may ask for what it can't do."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestOrder(_Asked):
    """What was asked of a bulk ingest; fields as those of `ReadOptions`, and `packed` (gzip)."""

    format: BodyFormat
    packed: bool = False
    columns: Mapping[str, str] = {}
    dataset: str | None = None
    split: str | None = None
    relink: bool = False
    on_conflict: OnConflict = "reject"

    @property
    def kind(self) -> Kind:
        """`ingest`; not written, as before there were other kinds."""
        return "ingest"

    @property
    def options(self) -> ReadOptions:
        """How the body is read; the header of a table tells what separates its columns."""
        told = None if self.format in ("csv", "tsv") else self.format
        return ReadOptions(told, self.columns, None, self.dataset, self.split, self.relink, bulk=True)

    @property
    def file_name(self) -> str:
        """The body's, in the job's folder."""
        return f"body{_SUFFIXES[self.format]}{'.gz' if self.packed else ''}"


class PublishOrder(PublishRequest):
    """What was asked of a publication."""

    kind: Literal["publish"]

    @property
    def file_name(self) -> str:
        """The file that says that it waits."""
        return UNDONE["publish"]


class Progress(BaseModel):
    """How far a job is; `attempts` counts processes that began it and wrote nothing more."""

    # Written by a later version it is read all the same: what is done of a job is done.
    model_config = ConfigDict(extra="ignore", frozen=True)

    state: Literal["running", "done", "failed"] = "running"
    counts: dict[Outcome, int] = {}
    bad_rows: int = 0
    problems: tuple[JobProblem, ...] = ()
    unknown_cuis: int = 0
    first_unknown_cuis: tuple[UnknownCui, ...] = ()
    bytes_read: int = 0
    stage: str = ""
    fraction: float = 0.0
    snapshot: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    hint: str = ""


class Received(_Asked):
    """The content of `order.json`."""

    order: IngestOrder | PublishOrder
    created_at: str
    bytes_total: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands on disk."""

    folder: Path
    order: IngestOrder | PublishOrder
    created_at: str
    bytes_total: int
    progress: Progress | None
    cancelled: bool

    @property
    def id(self) -> str:
        """64 hexadecimal digits."""
        return self.folder.name

    @property
    def age(self) -> tuple[str, str]:
        """What jobs are ordered by; the oldest has the smallest."""
        return self.created_at, self.id

    @property
    def body(self) -> Path:
        """The file that is ingested, or that says that a publication waits."""
        return self.folder / self.order.file_name

    @property
    def state(self) -> JobState:
        """What `GET /v1/jobs/{id}` says of it."""
        if self.progress is not None and self.progress.state != "running":
            return self.progress.state
        if self.cancelled:
            return "cancelled"
        return "queued" if self.progress is None else "running"

    @property
    def is_over(self) -> bool:
        """Whether nothing more is done for it."""
        return self.state not in ("queued", "running")

    def save(self, progress: Progress) -> None:
        """Writes how far it is; after a crash the file holds what it held before, or this."""
        # What is as it was is left out, so that earlier versions read the progress of their kind of job.
        content = progress.model_dump_json(exclude_defaults=True).encode()
        write_file(self.folder / PROGRESS, content, scratch=self.folder.parent)
