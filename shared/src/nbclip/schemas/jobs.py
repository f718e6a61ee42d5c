"""Long work that goes on behind the answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.schemas.base import Strict
from nbclip.schemas.images import Outcome

JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobProblem(Strict):
    """A row that could not be used, or an image that contradicts what is stored."""

    line: int = Field(description="of the body, unpacked, from 1")
    reason: str


class JobOut(Strict):
    """A bulk ingest: what was asked, and what became of it so far."""

    id: str = Field(description="digest of the body and of what was asked: the same again is the same job")
    state: JobState
    created_at: str = Field(description="ISO 8601, UTC")
    rows: int = Field(description="rows that are done, good and bad")
    counts: dict[Outcome, int]
    bad_rows: int
    problems: list[JobProblem] = Field(description="the first bad rows and rejected images")
    bytes_read: int = Field(description="of the body as it came")
    bytes_total: int
    seconds: float = Field(description="of work so far")
    rows_per_second: float | None = None
    eta_seconds: float | None = Field(None, description="what is left, at the rate so far; null where that is not known")
    error: str = Field("", description="why it failed, or waits")
    hint: str = ""


class JobList(Strict):
    jobs: list[JobOut] = Field(description="the newest first")
