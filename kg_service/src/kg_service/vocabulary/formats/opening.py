"""Opens files of ontologies, gzipped or not, and says what is to be installed to read them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import AGAIN, UNREADABLE, Part

_GZIP = b"\x1f\x8b"
_START = 1 << 16


@contextmanager
def opened(part: Part) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked."""
    with part.open() as packed:
        is_gzipped = packed.read(2) == _GZIP
        packed.seek(0)
        if is_gzipped:
            with gzip.open(packed) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield packed


def start_of(part: Part) -> bytes:
    """The first 64 KiB of a file, unpacked.

    Raises:
        InvalidInput: it can't be read or unpacked.
    """
    try:
        with opened(part) as stream:
            return stream.read(_START).removeprefix(b"\xef\xbb\xbf")
    except UNREADABLE as error:
        raise InvalidInput(f"{part.place} can't be read: {error}", hint=AGAIN) from error


@contextmanager
def needs(package: str) -> Iterator[None]:
    """Raises InvalidInput where a package is not installed."""
    try:
        yield
    except ImportError as error:
        raise InvalidInput(
            f"{package} is not installed, which reads this kind of file", hint="pip install 'nbclip-kg-service[ontologies]'"
        ) from error
