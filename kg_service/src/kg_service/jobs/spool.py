"""The jobs folder: which jobs there are, which wait, and what ends them (`model.py` says what is on disk)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbclip.errors import BrokenArtefact, Conflict, NBClipError, NotFound
from nbclip.flushing import sync
from pydantic import ValidationError

from kg_service.jobs.model import CANCELLED, ORDER, PROGRESS, UNDONE, Job, Kind, Progress, Received
from kg_service.storage.replacement import remove_folder

_ID_DIGITS = 64
keeping = threading.Lock()
"""Held while a job appears, is cancelled, goes on or is removed: two uploads of the same body that end at once are one job."""


def read_job(jobs: Path, job_id: str) -> Job:
    """The job of this id.

    Raises:
        NotFound: there is none.
        BrokenArtefact: its files are damaged.
    """
    folder = jobs / job_id
    if len(job_id) != _ID_DIGITS or not job_id.isalnum() or not (folder / ORDER).is_file():
        raise NotFound(f"no job {job_id!r:.80}", hint="GET /v1/jobs lists them")
    try:
        received = Received.model_validate_json((folder / ORDER).read_bytes())
        path = folder / PROGRESS
        progress = Progress.model_validate_json(path.read_bytes()) if path.is_file() else None
    except ValidationError as error:
        raise BrokenArtefact(f"{folder} is damaged", hint="remove it and send the job again") from error
    return Job(folder, received.order, received.created_at, received.bytes_total, progress, (folder / CANCELLED).exists())


def all_jobs(jobs: Path, having: str = ORDER) -> list[Job]:
    """All that can be read, or those of them that have such a file, the oldest first."""
    found = []
    for path in jobs.glob(f"*/{having}"):
        try:
            found.append(read_job(jobs, path.parent.name))
        except (NotFound, BrokenArtefact):
            continue
    return sorted(found, key=lambda job: job.age)


def newest_jobs(jobs: Path, limit: int, before: tuple[str, str] | None = None) -> list[Job]:
    """At most `limit` jobs, the newest first; those that are older than `before`, the `age` of the last one of a page."""
    older = [job for job in all_jobs(jobs) if before is None or job.age < before]
    return older[: -limit - 1 : -1]


def pending(jobs: Path, kind: Kind) -> list[Job]:
    """Those that wait for work, the oldest first."""
    return [job for job in all_jobs(jobs, UNDONE[kind]) if not job.is_over]


def has_work(jobs: Path, kind: Kind) -> bool:
    """Whether any waits."""
    return bool(pending(jobs, kind))


def is_cancelled(job: Job) -> bool:
    """Whether somebody has ended it by now, or removed it after that."""
    return (job.folder / CANCELLED).exists() or not (job.folder / ORDER).exists()


def cancel(job: Job) -> None:
    """Ends a job, a bulk ingest before its next transaction. What is stored or published stays; a job that is over, too."""
    with keeping:
        if not job.is_over:
            (job.folder / CANCELLED).touch()
            sync(job.folder)
            # A process that reads it reads on.
            job.body.unlink(missing_ok=True)


def remove(job: Job) -> None:
    """Removes what is known of a job that is over.

    Raises:
        Conflict: it waits, or is at work.
        NotFound: somebody was faster.
    """
    with keeping:
        if not read_job(job.folder.parent, job.id).is_over:
            raise Conflict(f"job {job.id:.12}… has not ended", hint=f"POST /v1/jobs/{job.id}/cancel stops it")
        remove_folder(job.folder)


@contextmanager
def reasons_kept(jobs: Path, kind: Kind) -> Iterator[None]:
    """In the block, an error that holds up all jobs of a kind is noted in those that wait, and raised on."""
    try:
        yield
    except NBClipError as error:
        for job in pending(jobs, kind):
            # Not of one that a process is at, which writes it too.
            if job.progress is None or job.progress.error:
                put_off(job, error)
        raise


def put_off(job: Job, error: NBClipError) -> None:
    """Notes why a job waits; this was not its own fault."""
    now = read_job(job.folder.parent, job.id).progress or Progress()
    job.save(now.model_copy(update={"attempts": 0, "error": error.message, "hint": error.hint}))
