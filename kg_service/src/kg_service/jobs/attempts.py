"""How often a job is begun: a process may die of it, and after some deaths at one place it is given up."""

from __future__ import annotations

import structlog

from kg_service.jobs.model import Job, Progress
from kg_service.jobs.spool import read_job

_ATTEMPTS = 5
"""Processes that may die at one place of a job before it is given up."""


def begin(job: Job) -> bool:
    """Counts an attempt, which a sign of progress resets; False if the job is given up instead."""
    begun = job.progress or Progress()
    if begun.attempts >= _ATTEMPTS:
        fail(job, f"the process that worked on it died {_ATTEMPTS} times", "ask for less at once, and look at the service's log")
        return False
    job.save(begun.model_copy(update={"attempts": begun.attempts + 1}))
    return True


def fail(job: Job, error: str, hint: str) -> None:
    """Ends a job with the reason."""
    now = read_job(job.folder.parent, job.id).progress or Progress()
    job.save(now.model_copy(update={"state": "failed", "error": error, "hint": hint}))
    structlog.get_logger().warning("job failed", kind=job.order.kind, job=job.id[:12], reason=error, hint=hint)
