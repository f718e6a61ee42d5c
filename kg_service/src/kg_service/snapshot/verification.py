"""Digests of large files, checked while the snapshots that they belong to are served."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import structlog
from nbclip.errors import BrokenArtefact, os_reason

from kg_service.snapshot.damage import Stamp
from kg_service.storage.artefact import MANIFEST, FileRecord, other_digest

_PIECE_BYTES = 1 << 20
_NICENESS = 10


@dataclass(frozen=True)
class Unverified:
    """Files of one snapshot whose digests are still to be checked.

    Attributes:
        snapshot: whose own files they are.
        folder: where they are.
        files: as the manifest names them.
        stamp: of all of the snapshot's own files when they were opened.
        hint: how the snapshot is made whole.
    """

    snapshot: str
    folder: Path
    files: Sequence[FileRecord]
    stamp: Stamp
    hint: str


OnEnd = Callable[[Unverified, BrokenArtefact | None], None]
"""Is told that all of them are whole, or what is wrong with the first that is not."""


class Verification:
    """Checks files in one thread of low priority, in the order in which they were added; safe to share by threads.

    Args:
        on_end: is called in that thread, once for each snapshot.
    """

    def __init__(self, on_end: OnEnd) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._waiting: dict[str, Unverified] = {}
        self._read = 0
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def add(self, unverified: Unverified) -> None:
        """Files to check; those of a snapshot that waits already are not added twice."""
        with self._lock:
            self._waiting.setdefault(unverified.snapshot, unverified)
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._work, name="verification", daemon=True)
                self._thread.start()

    def waits(self, snapshot: str) -> bool:
        """Whether files of this snapshot are still to be checked."""
        return snapshot in self._waiting

    def drop(self, snapshot: str) -> None:
        """Leaves its files: they were checked elsewhere."""
        with self._lock:
            self._waiting.pop(snapshot, None)

    def bytes_left(self) -> int:
        """Bytes that are still to be read."""
        with self._lock:
            files = sum(file.bytes for each in self._waiting.values() for file in each.files)
            return max(0, files - self._read) if self._waiting else 0

    def close(self) -> None:
        """Ends the thread within a piece; what waits stays unchecked."""
        self._stopped.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self) -> None:
        _give_way()
        while (unverified := self._next()) is not None:
            log = structlog.get_logger().bind(snapshot=unverified.snapshot)
            log.info("verifying while serving", files=len(unverified.files), bytes=sum(file.bytes for file in unverified.files))
            began = time.monotonic()
            error = self._check(unverified)
            if self._ended(unverified.snapshot):
                self._on_end(unverified, error)
                if error is None:
                    log.info("verified", seconds=round(time.monotonic() - began, 1))

    def _next(self) -> Unverified | None:
        with self._lock:
            self._read = 0
            if self._waiting and not self._stopped.is_set():
                return next(iter(self._waiting.values()))
            self._thread = None
            return None

    def _ended(self, snapshot: str) -> bool:
        """Whether the check came to its end: neither stopped nor dropped meanwhile. It waits no longer."""
        with self._lock:
            return not self._stopped.is_set() and self._waiting.pop(snapshot, None) is not None

    def _check(self, unverified: Unverified) -> BrokenArtefact | None:
        for file in unverified.files:
            path = unverified.folder / file.name
            try:
                digest = self._digest(path, unverified.snapshot)
            except OSError as error:
                if not (unverified.folder / MANIFEST).exists():
                    return None  # pruned: who has it open goes on with it
                return BrokenArtefact(f"{path} can't be read: {os_reason(error)}", hint=unverified.hint)
            if digest not in (file.sha256, None):
                return other_digest(path, unverified.hint)
        return None

    def _digest(self, path: Path, snapshot: str) -> str | None:
        """SHA-256 of a file in hexadecimal, read piece by piece; None if it was stopped or dropped meanwhile."""
        digest, piece = hashlib.sha256(), memoryview(bytearray(_PIECE_BYTES))
        with path.open("rb", buffering=0) as stream:
            while count := stream.readinto(piece):
                if self._stopped.is_set() or not self.waits(snapshot):
                    return None
                digest.update(piece[:count])
                self._read += count
        return digest.hexdigest()


def first_and_later(files: Sequence[FileRecord], first_bytes: int | None) -> tuple[list[FileRecord], list[FileRecord]]:
    """The smallest files that have at most so many bytes together, and the others, both by size; None: all are the first."""
    by_size = sorted(files, key=lambda file: file.bytes)
    if first_bytes is None:
        return by_size, []
    first = sum(total <= first_bytes for total in accumulate(file.bytes for file in by_size))
    return by_size[:first], by_size[first:]


def _give_way() -> None:
    """Lowers the priority of this thread, where threads have one."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
