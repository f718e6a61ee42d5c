"""Where the files of a SNOMED CT release lie: in a folder, or in a zip archive, as they are distributed."""

from __future__ import annotations

import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    """The files of one release, or of several editions read as one: those of snapshots, by kind, in order of their names.

    Attributes:
        given: the folder or archive that was given.
        parts: by kind; of each there may be several, such as descriptions in several languages.
        editions: of each edition, such as `INT`, its files of concepts.
        views: of all files that were met, `Full` and `Delta` too.
    """

    given: Path
    parts: Mapping[str, tuple[Part, ...]]
    editions: Mapping[str, tuple[Part, ...]]
    views: frozenset[str]

    @property
    def name(self) -> str:
        """Such as `SNOMEDCT_INT_20240101`; those of several editions, one after the other."""
        return " ".join(_release_of(part) for parts in self.editions.values() for part in parts)

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
        InvalidInput: the archive can't be used.
    """
    return _gathered(given, _parts(given))


def together(given: Path, several: Sequence[Rf2Files]) -> Rf2Files | None:
    """Releases read as one, such as the International Edition and an extension of it; None: there are none.

    Raises:
        InvalidInput: one edition is there twice.
    """
    views = frozenset[str]().union(*(files.views for files in several))
    files = _gathered(given, (part for each in several for parts in each.parts.values() for part in parts), views)
    for edition, parts in files.editions.items() if files else ():
        if len(parts) > 1:
            raise InvalidInput(
                f"{given} holds several releases of the edition {edition}: {', '.join(part.place for part in parts)}",
                hint="leave one of them there, or give its folder or archive; different editions are read as one release",
            )
    return files


def _gathered(given: Path, files: Iterable[Part], views: frozenset[str] = frozenset()) -> Rf2Files | None:
    found: dict[str, list[Part]] = defaultdict(list)
    editions: dict[str, list[Part]] = defaultdict(list)
    for part in sorted(files, key=lambda each: (each.name, each.place)):
        match = _FILE.fullmatch(part.name)
        if match is None:
            continue
        views |= {match["view"]}
        if match["view"] == "Snapshot":
            kind = LANGUAGE if match["refset"] else match["kind"]
            found[kind].append(part)
            if kind == CONCEPT:
                editions[match["edition"]].append(part)
    if not views:
        return None
    return Rf2Files(given, _as_tuples(found), _as_tuples(editions), views)


def _as_tuples(lists: Mapping[str, list[Part]]) -> dict[str, tuple[Part, ...]]:
    return {key: tuple(parts) for key, parts in lists.items()}


def _release_of(concepts: Part) -> str:
    match = _FILE.fullmatch(concepts.name)
    return f"SNOMEDCT_{match['edition']}_{match['date']}" if match else concepts.name


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
