"""Snapshots found damaged, so that one is checked again only when its files change."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from nbclip.errors import BrokenArtefact, Gone

from kg_service.storage.artefact import FileRecord

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

    def note(self, snapshot: str, error: BrokenArtefact | Gone, stands_on: Sequence[str] = ()) -> None:
        """Remembers what is wrong with it, or with what it stands on."""
        ids = (snapshot, *stands_on)
        self._found[snapshot] = _Found(error, ids, self._stamp(ids))

    def log(self, snapshot: str, error: BrokenArtefact | Gone) -> None:
        """Says it, with the file and the way out."""
        structlog.get_logger().error("snapshot damaged", snapshot=snapshot, reason=str(error))

    def _stamp(self, ids: Sequence[str]) -> Stamp:
        return _stamp_of(file.path for each in ids if (self._path / each).is_dir() for file in os.scandir(self._path / each))


def stamp_of_files(folder: Path, files: Iterable[FileRecord]) -> Stamp:
    """Changes when one of these files of a folder is written or replaced."""
    return _stamp_of(str(folder / file.name) for file in files)


def stamp_again(stamp: Stamp) -> Stamp:
    """The stamp of the same files now; raises FileNotFoundError where one is gone."""
    return _stamp_of(path for path, *_ in stamp)


def _stamp_of(paths: Iterable[str]) -> Stamp:
    states = [(path, Path(path).stat()) for path in sorted(paths)]
    return tuple((path, state.st_ino, state.st_mtime_ns, state.st_size) for path, state in states)
