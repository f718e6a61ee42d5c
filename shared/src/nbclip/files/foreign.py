"""What a file is by its first bytes where it is not what it should be, and what to do about it: for messages that help."""

from __future__ import annotations

import re
from typing import NamedTuple

from nbclip.files.addresses import Location

START = 512
"""So many of a file's first bytes tell."""


class Foreign(NamedTuple):
    """A kind of file, such as `a web page`, and the way from there; `suffix`: what the names of such files end with."""

    what: str
    hint: str
    suffix: str = ""


_PACKED = Foreign("packed, and not with gzip", "unpack it")
IMAGE = Foreign("an image", "give the table that names the images")
_KINDS = (
    (rb"PK\x03\x04", Foreign("a zip archive or an Excel sheet", "unpack it; save a sheet as CSV (UTF-8)")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign("an Excel sheet", "save it as CSV (UTF-8)")),
    (rb"PAR1\x15", Foreign("Parquet", "name it .parquet", ".parquet")),
    (rb"ARROW1\0\0", Foreign("Arrow, as datasets save it to disk", "write it as Parquet: to_parquet()")),
    (rb"BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c", _PACKED),
    (rb"\x1f\x8b", Foreign("packed with gzip", "unpack it")),
    (rb"SQLite format 3\0", Foreign("an SQLite database", "write its table as CSV")),
    (rb"\x89HDF\r\n", Foreign("HDF5", "write it as CSV or Parquet")),
    (rb"%PDF-", Foreign("a PDF", "get its data as a table")),
    (rb"version https://git-lfs", Foreign("a pointer of Git LFS instead of the file", "git lfs pull")),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html)\b", Foreign("a web page", "download it again: the server sent this instead")),
    (rb"\xff\xd8\xff|\x89PNG\r\n", IMAGE),
    (rb"(?s).{128}DICM", IMAGE),
    (rb"(?s).{257}ustar", Foreign("a tar archive", "name it .tar if it is a shard, else unpack it", ".tar")),
)


def foreign_kind(start: bytes) -> Foreign | None:
    """The kind of a file that begins so (`START` bytes); None if it may be a text."""
    if not start:
        return Foreign("empty", "get it again")
    return next((kind for pattern, kind in _KINDS if re.match(pattern, start)), None)


def instead_of_image(start: bytes) -> str:
    """What a file is that begins so and can't be decoded; empty if it may be an image."""
    kind = foreign_kind(start)
    return "" if kind in (None, IMAGE) else f"no image, but {kind.what}"


def way_out(path: Location, otherwise: str) -> str:
    """A hint on a file that can't be read as what its name says; `otherwise` where it begins as that."""
    try:
        with path.open("rb") as file:
            kind = foreign_kind(file.read(START))
    except OSError:
        return otherwise
    if kind is None or (kind.suffix and str(path).lower().endswith(kind.suffix)):
        return otherwise
    return f"it is {kind.what}: {kind.hint}"
