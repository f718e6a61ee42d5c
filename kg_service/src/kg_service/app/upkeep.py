"""What the service does by itself: jobs (bulk ingests and publications), appending what is new in the graph to the current
snapshot, compacting that, and once an hour removing what is no longer needed of old jobs.

All but the last are off the serving process: each runs in a process of its own, at a low priority, that opens the graph store by
itself and may be killed at any moment: a snapshot appears whole or not at all, and an ingest goes on where it was. A new current
snapshot is taken up as one that the command published is. What fails is logged, and tried again after the next append or at the
next turn; nothing that a turn meets ends upkeep, and `Upkeep.failure` says what it can't do.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack, closing
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

import structlog
from nbclip.errors import BrokenArtefact, NBClipError, Unavailable, os_reason

from kg_service.app.logging import configure_logging
from kg_service.app.sweep import sweep
from kg_service.app.wiring import open_graph
from kg_service.config import Settings
from kg_service.jobs.attempts import give_back_attempt
from kg_service.jobs.model import PublishOrder
from kg_service.jobs.retention import tidy
from kg_service.jobs.spool import has_work, reasons_kept
from kg_service.linking.linkers import linker_settings
from kg_service.snapshot import SnapshotFolder
from kg_service.vocabulary.vocabulary import open_vocabulary

if TYPE_CHECKING:
    from kg_service.snapshot.preparation import OnStage  # brings what serving does not need

_LOOKS_EVERY_S = 1.0
_BEGINS_EVERY_S = 3.0
"""At most so often, should the graph store be away."""
_TIDIES_EVERY_S = 3_600.0
_JOBS = frozenset(("bulk ingest", "publication"))
"""The parts of a turn that what was acknowledged waits for."""
_LATE_S = 60.0
"""A turn takes milliseconds, a tidying of full folders seconds."""
_NICENESS = 10


class Upkeep:
    """A thread that looks once a second whether there is something to do."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._snapshots = SnapshotFolder(settings.snapshots_folder)
        self._ingest = _Process("bulk ingest", ingest_now, settings)
        self._publish = _Process("publication", publish_now, settings)
        self._append = _Process("append", append_now, settings)
        self._compact = _Process("compaction", compact_now, settings)
        self._next_ingest = self._next_publication = self._next_tidying = 0.0
        self._next_append = time.monotonic() + settings.append_every_s
        self._seen: str | None = None
        self._failures: dict[str, str] = {}
        self._turned_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def close(self) -> None:
        """Ends what is in work, and leaves the snapshots as they are."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in (self._ingest, self._publish, self._append, self._compact):
            process.kill()
        # A stop is no death that a publication is to blame for.
        give_back_attempt(self._settings.jobs_folder, "publish")

    def failure(self) -> str | None:
        """Why jobs are not worked on, or None: upkeep has ended, does not turn, or could not begin one in its last turn."""
        late_s = time.monotonic() - self._turned_at
        if not self._thread.is_alive():
            return "its thread does not run"
        if late_s > _LATE_S:
            return f"no turn for {late_s:.0f} s"
        return self._failed(_JOBS)

    def trouble(self) -> str | None:
        """What else failed in the last turn, such as an append: it is tried again, and jobs are worked on."""
        return self._failed(self._failures.keys() - _JOBS)

    def _failed(self, parts: Collection[str]) -> str | None:
        return "; ".join(f"{part}: {self._failures[part]}" for part in sorted(parts) if part in self._failures) or None

    def _run(self) -> None:
        while not self._stopping.wait(_LOOKS_EVERY_S):
            self._turn()

    def _turn(self) -> None:
        """Begins what there is to do. Each part is on its own: one that fails keeps none of the others from its work."""
        parts = {
            "bulk ingest": self._ingest_if_due,
            "publication": self._publish_if_due,
            "tidying": self._tidy_if_due,
            "append": self._append_if_due,
            "compaction": self._compact_if_due,
        }
        for part, look in parts.items():
            try:
                look()
            except Exception as error:  # noqa: BLE001 - jobs that were acknowledged are looked for again, whatever it was
                self._note(part, error)
            else:
                self._failures.pop(part, None)
        self._turned_at = time.monotonic()

    def _note(self, part: str, error: Exception) -> None:
        """Logs it once for each reason: a part that fails fails again in a second."""
        foreseen = isinstance(error, NBClipError | OSError)
        reason = _reason(error)
        if self._failures.get(part) != reason:
            structlog.get_logger().warning(
                "upkeep failed, and tries again at its next turn", part=part, reason=reason, exc_info=None if foreseen else error
            )
        self._failures[part] = reason

    def _ingest_if_due(self) -> None:
        if self._ingest.idle() and time.monotonic() >= self._next_ingest and has_work(self._settings.jobs_folder, "ingest"):
            self._next_ingest = time.monotonic() + _BEGINS_EVERY_S
            self._ingest.start()

    def _publish_if_due(self) -> None:
        if (
            self._publish.idle()
            and time.monotonic() >= self._next_publication
            and has_work(self._settings.jobs_folder, "publish")
        ):
            self._next_publication = time.monotonic() + _BEGINS_EVERY_S
            self._publish.start()

    def _tidy_if_due(self) -> None:
        if time.monotonic() >= self._next_tidying:
            self._tidy()
            self._next_tidying = time.monotonic() + _TIDIES_EVERY_S

    def _append_if_due(self) -> None:
        if self._settings.append_every_s and time.monotonic() >= self._next_append and self._append.idle():
            self._next_append = time.monotonic() + self._settings.append_every_s
            self._append.start()

    def _compact_if_due(self) -> None:
        """Compacts the current snapshot if a large share of its images was appended; looks at each once."""
        if not (self._settings.compact_after and self._compact.idle()):
            return
        current = self._snapshots.current()
        if current is None or current == self._seen:
            return
        try:
            manifest = self._snapshots.manifest(current)
        except BrokenArtefact:
            return  # readiness says so
        if manifest.appended is not None and manifest.appended.images >= self._settings.compact_after * manifest.images:
            self._compact.start()
        self._seen = current

    def _tidy(self) -> None:
        settings = self._settings
        tidy(settings.jobs_folder, failed_days=settings.keep_failed_days, ended=settings.keep_jobs)


def _reason(error: Exception) -> str:
    match error:
        case OSError():
            return os_reason(error)
        case NBClipError():
            return str(error)
        case _:
            return f"{type(error).__name__}: {error}"


class _Process:
    """Work that is done in a process, once at a time."""

    def __init__(self, name: str, work: Callable[[Settings], None], settings: Settings) -> None:
        self._name = name
        self._work = work
        self._settings = settings
        self._process: BaseProcess | None = None

    def start(self) -> None:
        self._process = get_context("spawn").Process(target=_run, args=(self._name, self._work, self._settings), daemon=True)
        self._process.start()

    def idle(self) -> bool:
        """Whether none runs; says once how the last one ended, if it was not well.

        A SIGTERM is no failure: whoever stops a service may stop all of its processes.
        """
        if self._process is None or self._process.is_alive():
            return self._process is None
        code, self._process = self._process.exitcode, None
        if code == -signal.SIGTERM:
            structlog.get_logger().info(f"{self._name} was stopped")
        elif code:
            structlog.get_logger().warning(f"{self._name} failed", status=code, hint="the log above may say why")
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


def ingest_now(settings: Settings) -> None:
    """All bulk ingests that wait."""
    from kg_service.jobs.work import work
    from kg_service.linking.builder import build_linker
    from kg_service.snapshot.vocabulary_check import warn_before_ingest

    jobs = settings.jobs_folder
    with ExitStack() as opened:
        with reasons_kept(jobs, "ingest"):
            store = opened.enter_context(closing(open_graph(settings, bulk=True)))
            vocabulary = open_vocabulary(settings.vocabulary_folder)
            linker = build_linker(settings.linker, vocabulary, linker_settings(settings, vocabulary))
        warn_before_ingest(SnapshotFolder(settings.snapshots_folder), vocabulary)
        work(jobs, store, linker, vocabulary)


def publish_now(settings: Settings) -> None:
    """All publications that wait. One that is cancelled ends the process, which leaves nothing behind; the next goes on."""
    from kg_service.app.publication import publish_part
    from kg_service.jobs.publishing import publish_waiting

    jobs = settings.jobs_folder
    with ExitStack() as opened:
        with reasons_kept(jobs, "publish"):
            store = opened.enter_context(closing(open_graph(settings, bulk=True)))
            vocabulary = open_vocabulary(settings.vocabulary_folder)

        def publish(order: PublishOrder, on_stage: OnStage) -> str:
            return publish_part(store, vocabulary, settings, order, on_stage=on_stage)

        publish_waiting(jobs, publish, on_cancel=lambda: os._exit(0))


def append_now(settings: Settings) -> None:
    """What is new in the graph, to the current snapshot. Its libraries are this process's, not the serving one's."""
    from kg_service.snapshot.append import append

    with closing(open_graph(settings, bulk=True)) as store:
        append(store, SnapshotFolder(settings.snapshots_folder))


def compact_now(settings: Settings) -> None:
    """The current snapshot's part of the graph, published anew."""
    from kg_service.snapshot.publication import compact

    vocabulary = open_vocabulary(settings.vocabulary_folder)
    with closing(open_graph(settings, bulk=True)) as store:
        compact(store, SnapshotFolder(settings.snapshots_folder), vocabulary=vocabulary.describe(), hierarchy=vocabulary)


def _run(name: str, work: Callable[[Settings], None], settings: Settings) -> None:
    """In the process: a foreseen error is one line, and the exit status of its class."""
    configure_logging(settings.log_format)
    os.nice(_NICENESS)
    sweep(settings)
    try:
        work(settings)
    except NBClipError as error:
        structlog.get_logger().warning(f"{name} failed", reason=error.message, hint=error.hint)
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        structlog.get_logger().warning(f"{name} failed", reason=os_reason(error), hint="check the data folder")
        raise SystemExit(Unavailable.exit_code) from error
