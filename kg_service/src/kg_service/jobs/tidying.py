"""What is no longer needed of jobs goes from the disk."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import structlog
from nbclip.errors import Conflict, NotFound

from kg_service.jobs.model import Job
from kg_service.jobs.spool import all_jobs, keeping, read_job, remove

_DAY_S = 86_400.0


def tidy(jobs: Path, *, failed_days: float, ended: int) -> None:
    """Removes bodies of jobs that failed over `failed_days` days ago, and jobs that ended before the last `ended` ones.

    A job without its body is still listed; sent again, it resumes.
    """
    if not jobs.is_dir():
        return
    now = time.time()
    over = [job for job in all_jobs(jobs) if job.is_over]
    for job in over:
        if job.body.exists() and (job.state != "failed" or now - _ended_at(job) > failed_days * _DAY_S):
            _remove_body(job)
    for job in sorted(over, key=_ended_at)[: max(0, len(over) - ended)]:
        with suppress(Conflict, NotFound):  # it goes on, or somebody was faster
            remove(job)


def _remove_body(job: Job) -> None:
    with keeping:
        if read_job(job.folder.parent, job.id).state == job.state:
            job.body.unlink(missing_ok=True)
            structlog.get_logger().info("body of a job removed", job=job.id[:12], state=job.state)


def _ended_at(job: Job) -> float:
    """When a job was last written to, seconds of the epoch; 0 if it is gone."""
    times = [0.0]
    for path in (job.folder, *job.folder.rglob("*")):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)
