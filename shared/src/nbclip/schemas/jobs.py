"""Long work that goes on behind the answer: bulk ingests and publications."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.schemas.base import NEXT_CURSOR, Answer
from nbclip.schemas.images import Outcome

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobProblem(Answer):
    """A row that could not be used, or an image that contradicts what is stored."""

    line: int = Field(description="of the body, unpacked, from 1")
    reason: str


class JobOut(Answer):
    """What was asked, and what became of it so far. Rows and bytes are of bulk ingests, stage and snapshot of publications."""

    id: str = Field(description="of a bulk ingest the digest of the body and of what was asked: the same again is the same job")
    kind: str = Field("ingest", description="`ingest` or `publish`; later versions may have more")
    state: JobState
    created_at: str = Field(description="ISO 8601, UTC")
    fraction: float | None = Field(None, description="share that is done, of bytes or of stages; null where it is not known")
    seconds: float = Field(description="of work until the last stage or transaction")
    eta_seconds: float | None = Field(None, description="time left at the rate so far; null if unknown")
    error: str = Field("", description="why it failed or is waiting")
    hint: str = ""
    rows: int = Field(0, description="rows done, good and bad")
    counts: dict[Outcome, int] = Field({})
    bad_rows: int = 0
    problems: list[JobProblem] = Field([], description="the first bad rows and rejected images")
    bytes_read: int = Field(0, description="of the body as sent")
    bytes_total: int = 0
    rows_per_second: float | None = None
    stage: str = Field("", description="what a publication is at, such as `fitting hybrid`")
    snapshot: str | None = Field(None, description="id of the snapshot that was published")


class JobList(Answer):
    jobs: list[JobOut] = Field(description="the newest first")
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)
