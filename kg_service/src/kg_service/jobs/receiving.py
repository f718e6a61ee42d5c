"""The body of a bulk ingest on its way to the disk.

A bulk ingest is named by the digest of body and options, so that the same sent again is the same job; where that name is taken by
one that is done, or that others came after, by the digest of that name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from nbclip.flushing import sync

from kg_service.jobs.model import CANCELLED, ORDER, IngestOrder, Job, Received
from kg_service.jobs.spool import all_jobs, keeping, read_job
from kg_service.storage.replacement import install
from kg_service.storage.scratch import new_folder
from kg_service.storage.writing import unwritten


class Spooled:
    """A body that is being received."""

    def __init__(self, jobs: Path, scratch: Path, order: IngestOrder) -> None:
        self._jobs, self._scratch, self._order = jobs, scratch, order
        self._digest = hashlib.sha256(order.model_dump_json().encode() + b"\n")
        self._file = (scratch / order.file_name).open("wb")

    def write(self, chunk: bytes) -> None:
        """Takes a part of it."""
        self._digest.update(chunk)
        self._file.write(chunk)

    def keep(self) -> Job:
        """Makes the whole body durable.

        If the bulk ingest that came last is of the same and not done, it is given instead, and goes on if it failed or was
        cancelled. One that is done says nothing of what the store holds by now, and others that came later must not be undone
        by it.
        """
        with keeping:
            self._file.close()
            size = (self._scratch / self._order.file_name).stat().st_size
            received = Received(order=self._order, created_at=datetime.now(UTC).isoformat(), bytes_total=size)
            (self._scratch / ORDER).write_text(received.model_dump_json())
            ingests = (job for job in all_jobs(self._jobs) if job.order.kind == "ingest")
            last = max(ingests, key=lambda job: job.age, default=None)
            target = self._jobs / self._digest.hexdigest()
            while (target / ORDER).is_file():
                if last and last.id == target.name and last.state != "done":
                    return _restarted(last, self._scratch / self._order.file_name)
                target = self._jobs / hashlib.sha256(target.name.encode()).hexdigest()
            install(self._scratch, target)
        return read_job(self._jobs, target.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def receiving(jobs: Path, order: IngestOrder) -> Iterator[Spooled]:
    """A place for a body; what is not kept is removed. Raises Unavailable if there is no room, in the block too."""
    try:
        with new_folder(jobs) as scratch, Spooled(jobs, scratch, order) as spooled:
            yield spooled
    except OSError as error:
        raise unwritten("the body can't be stored", jobs, error) from error


def _restarted(job: Job, body: Path) -> Job:
    """The job as it stands; one that failed or was cancelled goes on from where it was, with the body that came again."""
    if job.state not in ("failed", "cancelled"):
        return job
    if not job.body.exists():
        sync(body)
        body.replace(job.body)
    if job.state == "failed" and job.progress is not None:
        job.save(job.progress.model_copy(update={"state": "running", "attempts": 0, "error": "", "hint": ""}))
    (job.folder / CANCELLED).unlink(missing_ok=True)
    sync(job.folder)
    return read_job(job.folder.parent, job.id)
