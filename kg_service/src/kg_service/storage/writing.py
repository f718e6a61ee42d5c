"""What can't be written is named as the caller called it, and not the scratch or the lock beside it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbclip.errors import Unavailable, os_reason

_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free disk space"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "allow the service to write there: mount, owner and mode"),
}


def is_full(error: OSError) -> bool:
    """Whether the disk, or a quota, has no room; libraries may say so in words alone."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError in the block is raised again as one of the same class that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        reason = "No such folder" if error.errno == errno.ENOENT else error.strerror
        raise OSError(error.errno, reason, str(path)) from error


def unwritten(what: str, folder: Path, error: OSError) -> Unavailable:
    """What can't be kept in a folder, why, and what helps against just this."""
    return Unavailable(f"{what}: {os_reason(error)}", hint=f"{_HINTS.get(error.errno or 0, 'check the disk')} (in {folder})")


def check_writable(folder: Path) -> None:
    """Asks the system, and writes nothing; of a folder that is not there yet, about the one it would be made in.

    Raises:
        Unavailable: it can't be written.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if os.access(there, os.W_OK | os.X_OK):
        return
    read_only = os.statvfs(there).f_flag & os.ST_RDONLY
    code = errno.EROFS if read_only else errno.EACCES
    raise unwritten("nothing can be stored", folder, OSError(code, os.strerror(code), str(there)))
