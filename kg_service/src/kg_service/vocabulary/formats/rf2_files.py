"""Where the files of a SNOMED CT release lie: in a folder, or in a zip archive, as they are distributed."""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nbclip.errors import InvalidInput

from kg_service.vocabulary.files import AGAIN, UNREADABLE, Part, refuse_member

CONCEPT, DESCRIPTION, RELATIONSHIP, LANGUAGE = "Concept", "Description", "Relationship", "LanguageRefset"
_FILE = re.compile(
    r"x?(?:sct2_(?P<kind>Concept|Description|Relationship)_|der2_cRefset_[A-Za-z0-9]*(?P<refset>Language))"
    r"[A-Za-z0-9]*?(?P<view>Snapshot|Full|Delta)(?:-[A-Za-z0-9-]+)?_(?P<edition>[A-Za-z0-9]+)_(?P<date>\d{8})\.txt"
)
_DEPTH = 5
"""Folders below the given one in which the files are looked for."""


@dataclass(frozen=True, slots=True)
class Rf2Files:
    """The files of one release: those of its snapshot, by kind, in order of their names.

    Attributes:
        given: the folder or archive that was given.
        parts: by kind; of each there may be several, such as descriptions in several languages.
        name: such as `SNOMEDCT_INT_20240101`.
        views: of all files that were met, `Full` and `Delta` too.
    """

    given: Path
    parts: Mapping[str, tuple[Part, ...]]
    name: str
    views: frozenset[str]

    def find(self, kind: str) -> tuple[Part, ...]:
        """The files of a kind.

        Raises:
            InvalidInput: the snapshot has none.
        """
        if found := self.parts.get(kind):
            return found
        others = sorted(self.views - {"Snapshot"})
        instead = f"only {' and '.join(others)} files were found; " if others and not self.parts else ""
        raise InvalidInput(
            f"no sct2_{kind}_Snapshot….txt in {self.given}",
            hint=f"{instead}give the whole release folder or zip archive, with its folder Snapshot",
        )


def rf2_files(given: Path) -> Rf2Files | None:
    """The release in a folder, up to five folders below it, or in a zip archive; None: no file there is of RF2.

    Raises:
        InvalidInput: the archive can't be used, or has more than one release.
    """
    found: dict[str, list[Part]] = defaultdict(list)
    views: set[str] = set()
    names: set[str] = set()
    for part in sorted(_parts(given), key=lambda each: (each.name, each.place)):
        match = _FILE.fullmatch(part.name)
        if match is None:
            continue
        views.add(match["view"])
        if match["view"] == "Snapshot":
            kind = LANGUAGE if match["refset"] else match["kind"]
            found[kind].append(part)
            if kind == CONCEPT:
                names.add(f"SNOMEDCT_{match['edition']}_{match['date']}")
    if not views:
        return None
    if len(found[CONCEPT]) > 1:
        raise InvalidInput(
            f"{given} holds several releases: {', '.join(part.place for part in found[CONCEPT])}",
            hint="give one of them; of a national extension, the edition that has the international concepts too",
        )
    return Rf2Files(given, {kind: tuple(parts) for kind, parts in found.items() if parts}, "".join(names), frozenset(views))


def _parts(given: Path) -> Iterator[Part]:
    if given.is_dir():
        for depth in range(_DEPTH + 1):
            for path in given.glob("*/" * depth + "*.txt"):
                if _FILE.fullmatch(path.name) and path.is_file():
                    yield Part(path.name, path.stat().st_size, path)
        return
    try:
        with zipfile.ZipFile(given) as archive:
            members = archive.infolist()
    except UNREADABLE as error:
        raise InvalidInput(f"{given} can't be read, it may be cut off: {error}", hint=f"{AGAIN}, or move it away") from error
    for member in members:
        name = PurePosixPath(member.filename).name
        if _FILE.fullmatch(name):
            refuse_member(given, member)
            yield Part(name, member.file_size, given, member.filename)
