"""Works on waiting bulk ingests, one after another, each from where it stopped.

A transaction is acknowledged by `progress.json`, written after it is durable. A process that is killed between the two leaves
rows that are sent again: they are `unchanged` then, and nothing is lost or doubled.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import structlog
from nbclip.errors import BrokenArtefact, InvalidInput, Unavailable
from nbclip.schemas.images import UnknownCui
from nbclip.schemas.jobs import JobProblem

from kg_service.graph.store import GraphStore
from kg_service.ingest.pipeline import ConceptSource, IngestReport, ingest_file
from kg_service.jobs.attempts import begin, fail
from kg_service.jobs.model import IngestOrder, Job, Progress
from kg_service.jobs.spool import is_cancelled, pending, put_off
from kg_service.linking.model import Linker
from kg_service.storage.locks import locked
from kg_service.vocabulary.model import BadRow


class _Cancelled(Exception):
    """Somebody ended the job."""


def work(jobs: Path, store: GraphStore, linker: Linker, vocabulary: ConceptSource, *, batch_size: int = 1_000) -> None:
    """Takes bulk ingests until none waits. Another process that works on the same folder is left to it.

    Raises:
        Unavailable: the store is away; jobs go on from there the next time.
    """
    with locked(jobs, patience_s=0):
        while waiting := pending(jobs, "ingest"):
            job = waiting[0]
            if not is_cancelled(job) and begin(job):
                _take(job, store, linker, vocabulary, batch_size)


def _take(job: Job, store: GraphStore, linker: Linker, vocabulary: ConceptSource, batch_size: int) -> None:
    order = cast("IngestOrder", job.order)  # `pending` gives no others
    log = structlog.get_logger().bind(job=job.id[:12])
    try:
        report = ingest_file(
            job.body,
            store,
            linker,
            vocabulary,
            options=order.options,
            on_conflict=order.on_conflict,
            batch_size=batch_size,
            on_progress=lambda report: _acknowledge(job, report),
            before=_report(job, job.progress or Progress()),
        )
    except _Cancelled:
        log.info("bulk ingest cancelled")
    except Unavailable as error:
        put_off(job, error)
        raise
    except (InvalidInput, BrokenArtefact) as error:
        if is_cancelled(job) and not job.body.exists():
            log.info("bulk ingest cancelled")
            return
        fail(job, error.message.replace(str(job.body), "body"), error.hint)
    else:
        job.save(_of(report).model_copy(update={"state": "done"}))
        job.body.unlink(missing_ok=True)
        log.info("bulk ingest done", rows=report.rows, bad_rows=report.bad_rows, seconds=round(report.seconds, 1))


def _acknowledge(job: Job, report: IngestReport) -> None:
    try:
        job.save(_of(report))
    except FileNotFoundError as error:
        raise _Cancelled from error  # and removed since
    if is_cancelled(job):
        raise _Cancelled


def _of(report: IngestReport) -> Progress:
    return Progress(
        counts=dict(report.counts),
        bad_rows=report.bad_rows,
        problems=tuple(JobProblem(line=row.line, reason=row.reason) for row in report.problems),
        unknown_cuis=report.unknown_cuis,
        first_unknown_cuis=tuple(
            UnknownCui(cui=cui, image_id=row.item.image_id, line=row.line) for cui, row in report.first_unknown_cuis
        ),
        bytes_read=report.bytes_read,
        seconds=report.seconds,
    )


def _report(job: Job, progress: Progress) -> IngestReport:
    problems = tuple(BadRow(str(job.body), problem.line, problem.reason) for problem in progress.problems)
    return IngestReport(
        job.body, progress.counts, progress.bad_rows, problems, progress.seconds, progress.bytes_read, job.bytes_total
    )
