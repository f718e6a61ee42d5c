"""Opens files of ontologies, gzipped or not, and says what is to be installed to read them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from nbclip.errors import InvalidInput

from kg_service.errors import MissingExtra
from kg_service.vocabulary.files import AGAIN, MAX_COMPRESSION, UNREADABLE, Part

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""The marks that a file in UTF-16 begins with."""

_GZIP = b"\x1f\x8b"
_START, _PIECE = 1 << 16, 1 << 20


@contextmanager
def opened(part: Part) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked."""
    with part.open() as packed:
        is_gzipped = packed.read(2) == _GZIP
        packed.seek(0)
        if is_gzipped:
            _refuse_huge(part)
            with gzip.open(packed) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield packed


def _refuse_huge(part: Part) -> None:
    """Raises InvalidInput where a gzipped file unpacks to far more than its size."""
    unpacked, most = 0, _START + MAX_COMPRESSION * part.size
    with part.open() as packed, gzip.open(packed) as stream:
        while piece := stream.read(_PIECE):
            unpacked += len(piece)
            if unpacked > most:
                raise InvalidInput(
                    f"{part.place} unpacks to over {MAX_COMPRESSION} times its size", hint="check that it is an ontology"
                )


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
def needs(extra: str, what: str) -> Iterator[None]:
    """Raises MissingExtra where what is imported is not installed."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(extra, what) from error
