"""Publications that go on behind the answer: kept first, then done by a process of their own, again if that one died.

A process that is killed leaves nothing of what it had begun: a snapshot appears whole or not at all, and the same graph gives the
same id.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import structlog
from nbclip.errors import NBClipError, Unavailable

from kg_service.jobs.attempts import begin, fail
from kg_service.jobs.model import ORDER, Job, Progress, PublishOrder, Received
from kg_service.jobs.spool import is_cancelled, keeping, pending, put_off, read_job
from kg_service.storage.locks import locked
from kg_service.storage.replacement import install
from kg_service.storage.scratch import new_folder
from kg_service.storage.writing import unwritten

if TYPE_CHECKING:
    from kg_service.snapshot.preparation import OnStage  # brings what serving does not need

Publish: TypeAlias = "Callable[[PublishOrder, OnStage], str]"
"""Publishes what was asked, telling its stages; returns the snapshot's id."""
_LOOKS_EVERY_S = 0.5
_LOCK = ".publishing.lock"
"""Not that of bulk ingests, which are worked on beside."""


def order_publication(jobs: Path, order: PublishOrder) -> Job:
    """Keeps what was asked; one of the same that nobody has begun is given instead.

    Raises:
        Unavailable: there is no room.
    """
    with keeping:
        for job in pending(jobs, "publish"):
            if job.order == order and job.state == "queued":
                return job
        target = jobs / secrets.token_hex(32)
        received = Received(order=order, created_at=datetime.now(UTC).isoformat(), bytes_total=0)
        try:
            with new_folder(jobs) as scratch:
                # What is left open is left out, so that earlier versions read an order that they can fulfil.
                (scratch / ORDER).write_text(received.model_dump_json(exclude_defaults=True))
                (scratch / order.file_name).touch()
                install(scratch, target)
        except OSError as error:
            raise unwritten("the job can't be stored", jobs, error) from error
    return read_job(jobs, target.name)


def publish_waiting(jobs: Path, publish: Publish, on_cancel: Callable[[], None]) -> None:
    """Does what waits, one after another. Another process that works on the same folder is left to it.

    Args:
        jobs: the jobs folder.
        publish: does one.
        on_cancel: is called from another thread once the one in work is cancelled, and may end the process.

    Raises:
        Unavailable: the store is away, there is no room, or another process works here; jobs are begun anew the next time.
    """
    with locked(jobs, patience_s=0, name=_LOCK):
        while waiting := pending(jobs, "publish"):
            job = waiting[0]
            if not is_cancelled(job) and begin(job):
                with _watched(job, on_cancel):
                    _take(job, publish)


def _take(job: Job, publish: Publish) -> None:
    order = cast("PublishOrder", job.order)  # `pending` gives no others
    begun = time.monotonic()
    try:
        snapshot = publish(order, lambda stage, fraction: _save(job, begun, stage=stage, fraction=fraction))
    except Unavailable as error:
        put_off(job, error)
        raise
    except OSError as error:
        full = unwritten("the snapshot can't be written", job.folder.parents[1], error)
        put_off(job, full)
        raise full from error
    except NBClipError as error:
        fail(job, error.message, error.hint)
    else:
        _save(job, begun, state="done", stage="", fraction=1.0, snapshot=snapshot)
        job.body.unlink(missing_ok=True)
        structlog.get_logger().info("publication done", job=job.id[:12], snapshot=snapshot)


def _save(job: Job, begun: float, **update: object) -> None:
    """Attempts stay as they are: a process that always dies at one stage must not be started for ever."""
    now = read_job(job.folder.parent, job.id).progress or Progress()
    job.save(now.model_copy(update={"seconds": time.monotonic() - begun, "error": "", "hint": "", **update}))


@contextmanager
def _watched(job: Job, on_cancel: Callable[[], None]) -> Iterator[None]:
    """Looks in the block whether the job is cancelled: hours of fitting are not waited for."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOKS_EVERY_S):
            if is_cancelled(job):
                on_cancel()
                return

    watch = threading.Thread(target=look, name="cancelled?", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
