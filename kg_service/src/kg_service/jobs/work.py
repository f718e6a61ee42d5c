"""Works on the bulk ingests that wait, one after another, each from where it was left.

A transaction is acknowledged by `progress.json`, written after it is durable. A process that is killed between the two leaves
rows that are sent again: they are `unchanged` then, and nothing is lost or doubled.
"""

from __future__ import annotations

from pathlib import Path

import structlog
from nbclip.errors import BrokenArtefact, InvalidInput, Unavailable
from nbclip.schemas.jobs import JobProblem

from kg_service.graph.store import GraphStore
from kg_service.ingest.pipeline import ConceptSource, IngestReport, ingest_file
from kg_service.jobs.spool import Job, Progress, is_cancelled, pending, read_job
from kg_service.linking.model import Linker
from kg_service.storage.locks import locked
from kg_service.vocabulary.model import BadRow

_ATTEMPTS = 5
"""Processes that may die at one place of a job before it is given up."""


class _Cancelled(Exception):
    """Somebody ended the job."""


def work(jobs: Path, store: GraphStore, linker: Linker, vocabulary: ConceptSource, *, batch_size: int = 1_000) -> None:
    """Takes jobs until none waits. Another process that works on the same folder is left to it.

    Raises:
        Unavailable: the store is away; jobs go on from there the next time.
    """
    with locked(jobs, patience_s=0):
        while waiting := pending(jobs):
            _take(waiting[0], store, linker, vocabulary, batch_size)


def _take(job: Job, store: GraphStore, linker: Linker, vocabulary: ConceptSource, batch_size: int) -> None:
    begun = job.progress or Progress()
    if is_cancelled(job):
        return
    log = structlog.get_logger().bind(job=job.id[:12])
    if begun.attempts >= _ATTEMPTS:
        _fail(job, f"the process that worked on it died {_ATTEMPTS} times", "send less at once, and look at the service's log")
        return
    job.save(begun.model_copy(update={"attempts": begun.attempts + 1}))
    try:
        report = ingest_file(
            job.body,
            store,
            linker,
            vocabulary,
            options=job.order.options,
            on_conflict=job.order.on_conflict,
            batch_size=batch_size,
            on_progress=lambda report: _acknowledge(job, report),
            before=_report(job, begun),
        )
    except _Cancelled:
        log.info("bulk ingest cancelled")
    except Unavailable as error:
        # Not the job's fault: it waits, and says why.
        now = _progress(job)
        job.save(now.model_copy(update={"attempts": 0, "error": error.message, "hint": error.hint}))
        raise
    except (InvalidInput, BrokenArtefact) as error:
        if is_cancelled(job) and not job.body.exists():
            log.info("bulk ingest cancelled")
            return
        _fail(job, error.message.replace(str(job.body), "body"), error.hint)
    else:
        job.save(_of(report).model_copy(update={"state": "done"}))
        job.body.unlink(missing_ok=True)
        log.info("bulk ingest done", rows=report.rows, bad_rows=report.bad_rows, seconds=round(report.seconds, 1))


def _acknowledge(job: Job, report: IngestReport) -> None:
    job.save(_of(report))
    if is_cancelled(job):
        raise _Cancelled


def _fail(job: Job, error: str, hint: str) -> None:
    job.save(_progress(job).model_copy(update={"state": "failed", "error": error, "hint": hint}))
    structlog.get_logger().warning("bulk ingest failed", job=job.id[:12], reason=error, hint=hint)


def _progress(job: Job) -> Progress:
    return read_job(job.folder.parent, job.id).progress or Progress()


def _of(report: IngestReport) -> Progress:
    return Progress(
        counts=dict(report.counts),
        bad_rows=report.bad_rows,
        problems=tuple(JobProblem(line=row.line, reason=row.reason) for row in report.problems),
        bytes_read=report.bytes_read,
        seconds=report.seconds,
    )


def _report(job: Job, progress: Progress) -> IngestReport:
    problems = tuple(BadRow(str(job.body), problem.line, problem.reason) for problem in progress.problems)
    return IngestReport(
        job.body, progress.counts, progress.bad_rows, problems, progress.seconds, progress.bytes_read, job.bytes_total
    )
