"""Files at addresses, read through fsspec by ranges of bytes (`asking.py`): as many as were asked for, or an error."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from nbclip.errors import InvalidInput
from nbclip.files.asking import REPLACED, asked, file_system_of

PATIENCE = 300.0
"""Seconds for which a range of a file is asked for again."""
PATIENCE_AT_START = 30.0
"""The same of what was never there before, which is more likely a wrong address."""
_BLOCK_BYTES, _BLOCKS_AT_ONCE = 8 << 20, 4
_DIGESTS = ("md5Hash", "Content-MD5", "ETag", "generation", "etag")
_TIMES = ("Last-Modified", "LastModified", "last_modified", "mtime", "created")
_VERSIONS = (*_DIGESTS, *_TIMES)
"""Under which of these a protocol says of which version a file is, the best first."""
copies: dict[str, Path] = {}
"""Of files that are copied (`copied`), by address."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it is now.

    Attributes:
        size: bytes.
        version: changes when the content does: ETag, digest or time; None where the protocol has none.
    """

    size: int
    version: str | None


def found_at(url: str) -> Found:
    """What is at an address.

    Raises:
        NotFound: nothing.
        InvalidInput: the address is refused, or its protocol has no package, or no sizes.
        Unavailable: no answer for half a minute.
    """
    info = asked(url, lambda: file_system_of(url).info(url), PATIENCE_AT_START)
    if info.get("size") is None or info.get("type") == "directory":
        raise InvalidInput(f"{url}: no file, or one whose size is not told", hint="name a file, or a pattern such as *.tar")
    version = next((str(info[name]) for name in _VERSIONS if info.get(name) is not None), None)
    return Found(int(info["size"]), version)


def read_range(url: str, start: int, end: int) -> bytes:
    """The bytes of a file from `start` up to `end`.

    Raises:
        NotFound: the file is gone.
        InvalidInput: it ends before, or no ranges of it are given.
        Unavailable: no answer for five minutes.
    """
    if (copy := copies.get(url)) is not None:
        with copy.open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    # By name: s3fs has a version in the place of the start.
    content: bytes = asked(url, lambda: file_system_of(url).cat_file(url, start=start, end=end), PATIENCE)
    if len(content) > end - start:
        raise InvalidInput(
            f"{url}: the server sends all of it where a range is asked for", hint="download it, or let the server give ranges"
        )
    if len(content) < end - start:
        raise _cut_off(url, start, end)
    return content


def listed(url: str) -> list[str]:
    """The addresses that match a pattern, sorted; raises InvalidInput if there are none."""
    file_system, protocol = file_system_of(url), url.partition("://")[0]
    found = asked(url, lambda: file_system.glob(url), PATIENCE_AT_START)
    if not found:
        raise InvalidInput(f"{url}: no file matches", hint="quote the pattern, and check its folder")
    return sorted(name if "://" in name else f"{protocol}://{name.lstrip('/')}" for name in found)


def opened(url: str) -> BinaryIO:
    """A file's content, read by blocks when it is asked for; raises as `found_at`, and `read_range` later."""
    if (copy := copies.get(url)) is not None:
        return copy.open("rb")
    return io.BufferedReader(cast(io.RawIOBase, _Ranges(url, found_at(url).size)), _BLOCK_BYTES)


@contextmanager
def copied(url: str, done: Callable[[float], None]) -> Iterator[None]:
    """Reads a file as a whole, in blocks of which several are under way; then this process reads the copy while the block runs.

    Args:
        url: the file.
        done: told what share of it is read, in [0, 1].

    Raises:
        InvalidInput: the file changes meanwhile, and as `read_range`.
    """
    before = found_at(url)
    # Two at least: who reads it later asks for ranges, and a server without any would not be known by a file read at once.
    block = max(1, min(_BLOCK_BYTES, -(-before.size // 2)))
    with tempfile.NamedTemporaryFile() as file:

        def copy(start: int) -> None:
            os.pwrite(file.fileno(), read_range(url, start, min(start + block, before.size)), start)

        _each(copy, range(0, before.size, block), done)
        if found_at(url) != before:
            raise InvalidInput(f"{url}: changed while it was read", hint="try again once it is whole")
        copies[url] = Path(file.name)
        try:
            yield
        finally:
            del copies[url]


def _each(copy: Callable[[int], None], starts: range, done: Callable[[float], None]) -> None:
    """Copies blocks; the first that fails ends it."""
    pool = ThreadPoolExecutor(_BLOCKS_AT_ONCE)
    try:
        for number, _ in enumerate(pool.map(copy, starts), 1):
            done(number / len(starts))
    finally:
        pool.shutdown(cancel_futures=True)


class _Ranges(io.RawIOBase):
    """A file at an address, not buffered."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._place = url, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where reading goes on."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place, counted from the start, from here or from the end."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as the file goes; returns the number of bytes."""
        end = min(self._place + len(buffer), self._size)
        content = read_range(self._url, self._place, end) if end > self._place else b""
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _cut_off(url: str, start: int, end: int) -> InvalidInput:
    return InvalidInput(f"{url}: ends before byte {end}, of bytes {start} to {end}", hint=REPLACED)
