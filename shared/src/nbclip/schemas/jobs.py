"""Long work that runs in the background: bulk ingests and publications."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.schemas.base import NEXT_CURSOR, Answer
from nbclip.schemas.images import Outcome, UnknownCui

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobProblem(Answer):
    """A row that could not be used, or an image that conflicts with what is stored."""

    line: int = Field(description="line of the unpacked body, from 1")
    reason: str


class JobOut(Answer):
    """What was requested, and its state. Rows and bytes are those of bulk ingests, stage and snapshot those of publications."""

    id: str = Field(description="for a bulk ingest, the digest of its body and options: the same again is the same job")
    kind: str = Field("ingest", description="`ingest` or `publish`; later versions may have more")
    state: JobState
    created_at: str = Field(description="ISO 8601, UTC")
    fraction: float | None = Field(None, description="share that is done, of bytes or of stages; null if unknown")
    seconds: float = Field(description="seconds of work until the last stage or transaction, without the time in the queue")
    eta_seconds: float | None = Field(None, description="seconds left at the rate so far; null if unknown")
    error: str = Field("", description="why the job failed or is waiting")
    hint: str = ""
    rows: int = Field(0, description="rows done, good and bad")
    counts: dict[Outcome, int] = Field({})
    bad_rows: int = 0
    problems: list[JobProblem] = Field([], description="the first bad rows and rejected images")
    unknown_cuis: int = Field(0, description="CUIs given that the vocabulary lacks, each counted once")
    first_unknown_cuis: list[UnknownCui] = Field([], description="the first of them")
    bytes_read: int = Field(0, description="bytes of the body, as sent, that were read")
    bytes_total: int = 0
    rows_per_second: float | None = None
    stage: str = Field("", description="current step of a publication, such as `fitting hybrid`")
    snapshot: str | None = Field(None, description="id of the published snapshot")


class JobList(Answer):
    jobs: list[JobOut] = Field(description="the newest first")
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)
