"""Snapshots found damaged, so that one is checked again only when its files change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from nbclip.errors import BrokenArtefact, Gone

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class _Found:
    """What was wrong with files that had this stamp."""

    error: BrokenArtefact | Gone
    ids: tuple[str, ...]
    stamp: Stamp


class Damage:
    """The damaged snapshots of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, _Found] = {}

    def of(self, snapshot: str) -> BrokenArtefact | Gone | None:
        """What was wrong with it; None if nothing was, or if files of it or of what it stands on have changed since."""
        found = self._found.get(snapshot)
        if found is None or found.stamp != self._stamp(found.ids):
            return None
        return type(found.error)(found.error.message, hint=found.error.hint)

    def note(self, snapshot: str, error: BrokenArtefact | Gone, stands_on: Sequence[str]) -> None:
        """Remembers it, and logs it."""
        ids = (snapshot, *stands_on)
        self._found[snapshot] = _Found(error, ids, self._stamp(ids))
        structlog.get_logger().error("snapshot damaged", snapshot=snapshot, reason=str(error))

    def _stamp(self, ids: Sequence[str]) -> Stamp:
        files = [file for each in ids if (self._path / each).is_dir() for file in os.scandir(self._path / each)]
        states = [(file.path, file.stat()) for file in files]
        return tuple(sorted((path, state.st_ino, state.st_mtime_ns, state.st_size) for path, state in states))
