"""The file that names the current snapshot, as those who serve read it, whichever process or machine writes it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from nbclip.errors import Unavailable, os_reason

_OPENS_AGAIN_S = 1.0
Stamp = tuple[int, int, int]
"""Which file it is, when it was written, how large it is."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the file held when it had this stamp, and when it was opened, by the monotonic clock."""

    content: str
    stamp: Stamp
    opened_at: float


class Pointer:
    """A file that is replaced whenever it names something else; threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: _Seen | None = None

    def read(self) -> str | None:
        """What it names; None where there is no such file. Each request asks.

        What this machine wrote is seen at once. A network file system may answer from attributes that are up to a minute old; it
        asks its server when the file is opened, which is done once a second.

        Raises:
            Unavailable: it can't be read.
        """
        try:
            seen = self._seen
            if seen is None or time.monotonic() - seen.opened_at > _OPENS_AGAIN_S or _stamp(self._path.stat()) != seen.stamp:
                self._seen = seen = self._open()
        except FileNotFoundError:
            return None
        except OSError as error:
            hint = "let the user of this service read it: mount, owner and mode"
            raise Unavailable(f"can't tell which snapshot is current: {os_reason(error)}", hint=hint) from error
        return seen.content

    def _open(self) -> _Seen:
        with self._path.open() as file:
            return _Seen(file.read().strip(), _stamp(os.fstat(file.fileno())), time.monotonic())


def _stamp(state: os.stat_result) -> Stamp:
    return state.st_ino, state.st_mtime_ns, state.st_size
