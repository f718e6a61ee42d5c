"""What a release says of itself: its name, and how many rows its files have."""

from __future__ import annotations

import re

from kg_service.vocabulary.files import RELEASE_FILE, Part, ReleaseFiles
from kg_service.vocabulary.rrf import is_count, unpacked

_NAME = re.compile(r"(?:19|20)\d\d[A-Z]{2}")
_VSAB, _RSAB, _SVER, _IMETA = 2, 3, 6, 9  # of MRSAB
_FIL, _RWS = 0, 4  # of MRFILES
_METATHESAURUS = "MTH"


def release_name(files: ReleaseFiles) -> str:
    """`umls.release.name` of release.dat (in META or beside it) or of MRDOC, else what MRSAB says; empty if none does.

    Of MRSAB that is the version of the Metathesaurus itself (MTH), or the newest one that brought a source (IMETA).

    Raises:
        InvalidInput: a file can't be read.
    """
    for parts in (files.parts, files.beside):
        if RELEASE_FILE in parts and (name := _named(_lines((parts[RELEASE_FILE],)), "=")):
            return name
    return _named(_lines(files.look_for("MRDOC")), "|") or _version(_lines(files.look_for("MRSAB")))


def stated_rows(files: ReleaseFiles) -> dict[str, int]:
    """How many rows each file has as MRFILES tells it, by its name; none where there is no MRFILES.

    Raises:
        InvalidInput: it can't be read.
    """
    rows = (line.split("|") for line in _lines(files.look_for("MRFILES")))
    return {row[_FIL]: int(row[_RWS]) for row in rows if len(row) > _RWS and is_count(row[_RWS])}


def _lines(parts: tuple[Part, ...]) -> list[str]:
    return b"".join(unpacked(parts)).decode(errors="replace").splitlines()


def _named(lines: list[str], separator: str) -> str:
    rows = ([cell.strip() for cell in line.split(separator) if cell.strip()] for line in lines)
    return next((row[-1] for row in rows if "umls.release.name" in row[:-1]), "")


def _version(lines: list[str]) -> str:
    rows = [row for row in (line.split("|") for line in lines) if len(row) > _IMETA]
    own = (row[column] for row in rows if row[_RSAB] == _METATHESAURUS for column in (_SVER, _VSAB))
    said = next((match[0] for match in map(_NAME.search, own) if match), "")
    return said or max((row[_IMETA] for row in rows if _NAME.fullmatch(row[_IMETA])), default="")
