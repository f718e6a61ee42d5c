"""Removes what killed processes left: every command does, and the service, when it starts (`app/sweep.py`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from kg_service.storage.replacement import finish_install
from kg_service.storage.scratch import ELSEWHERE, LOCK, PREFIX, held, new_place


def sweep(folder: Path, prefix: str = PREFIX) -> None:
    """Removes scratch in a folder that no process holds, and completes a replacement that was cut short."""
    for entry in folder.glob(f"{prefix}*"):
        # Another process may sweep too, and another user may own what can't be removed here.
        with suppress(OSError):
            _sweep(entry)


def _sweep(entry: Path) -> None:
    if entry.is_symlink():
        return
    is_place = entry.is_dir()
    with held(entry / LOCK if is_place else entry) as is_left:
        if not is_left:
            return
        if not is_place:
            entry.unlink(missing_ok=True)
            return
        elsewhere = entry / ELSEWHERE
        if elsewhere.is_symlink():
            sweep(elsewhere.readlink())
        finish_install(entry)
        shutil.rmtree(entry)


@contextmanager
def noted(folder: Path, home: Path) -> Iterator[None]:
    """Notes in `home`, while the block runs, that `folder` may hold scratch: after a kill a sweep of `home` sweeps `folder` too.

    For folders that no setting names, such as that of an export.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # there is no `home`, or it can't be written to
            place = stack.enter_context(new_place(home))
            (place / ELSEWHERE).symlink_to(folder.absolute(), target_is_directory=True)
        yield
