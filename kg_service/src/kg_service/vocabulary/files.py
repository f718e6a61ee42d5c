"""Where the files of a release lie: plain, gzipped, in parts (`MRCONSO.RRF.aa.gz`, `.ab.gz`, …), in a folder or in zip archives.

A full release as downloaded has parts in zip archives, `2025AB-1-meta.nlm` and so on. They are read where they lie.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from string import ascii_lowercase
from typing import IO

from nbclip.errors import InvalidInput

from kg_service.storage.artefact import FileRecord

MAX_COMPRESSION = 200
"""What unpacks to more times its size is no RRF file."""

RELEASE_FILE = "release.dat"

_DEPTH = 3
"""Folders below the given one in which META is looked for."""
_MOST_UNPACKED = 8 << 20
_ATOMS = "MRCONSO"
_FILE = re.compile(r"(mr[a-z]+\.rrf)(\.[a-c][a-z]|\.\d{2,3})?(\.gz)?|release\.dat", re.IGNORECASE)
_ARCHIVES = {".nlm", ".zip"}
_INSTALLER = "mmsys.zip"
AGAIN = "copy or download the file again"
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError, OSError)
"""What a damaged file or archive raises, as it is listed or unpacked."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a release, or a part of one.

    Attributes:
        name: without folders.
        size: in bytes, as it lies there, gzipped or not.
        path: the file, or the archive that holds it.
        member: its name in the archive; empty outside one.
    """

    name: str
    size: int
    path: Path
    member: str = ""

    @property
    def is_gzipped(self) -> bool:
        """Whether it has to be unpacked."""
        return self.name.casefold().endswith(".gz")

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        return f"{self.member} in {self.path}" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, as they lie there."""
        if not self.member:
            with self.path.open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
            yield stream

    def describe(self) -> FileRecord:
        """Its record, the same in an archive and outside."""
        with self.open() as stream:
            return FileRecord(self.name, self.size, hashlib.file_digest(stream, "sha256").hexdigest())  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ReleaseFiles:
    """The files of one release.

    Attributes:
        given: the folder or archive that was given.
        parts: in META, by name in small letters.
        beside: in the folder above; release.dat at least.
    """

    given: Path
    parts: Mapping[str, Part]
    beside: Mapping[str, Part]

    def look_for(self, stem: str) -> tuple[Part, ...]:
        """The file of this name, plain or gzipped, or else its parts in order; none if it is not there.

        Raises:
            InvalidInput: a part between others is missing.
        """
        name = f"{stem}.RRF".casefold()
        whole = self.parts.get(name) or self.parts.get(f"{name}.gz")
        return (whole,) if whole else self._series(stem)

    def find(self, stem: str) -> tuple[Part, ...]:
        """As `look_for`; raises InvalidInput if there is none, naming what may be meant instead."""
        if found := self.look_for(stem):
            return found
        raise InvalidInput(f"no {stem}.RRF or {stem}.RRF.gz in {self.given}", hint=_way_out(self.given, stem))

    def _series(self, stem: str) -> tuple[Part, ...]:
        found: dict[str, Part] = {}
        for name in sorted(self.parts):
            match = _FILE.fullmatch(name)
            if match and match[1] == f"{stem}.RRF".casefold() and match[2]:
                found.setdefault(match[2], self.parts[name])
        for suffix in _expected(list(found)):
            if suffix not in found:
                ending = ".gz" if next(iter(found.values())).is_gzipped else ""
                raise InvalidInput(
                    f"{stem}.RRF{suffix}{ending} is missing in {self.given}: there are {', '.join(found)}",
                    hint="copy all parts of the release there, or all of its -meta.nlm archives",
                )
        return tuple(found.values())


def _expected(suffixes: list[str]) -> list[str]:
    """The suffixes up to the last one as `split` gives them: .aa, .ab, … or numbers from 0 or 1."""
    if not suffixes:
        return []
    last = suffixes[-1][1:]
    if last.isdecimal():
        first = min(int(suffixes[0][1:]), 1)
        return [f".{number:0{len(last)}d}" for number in range(first, int(last) + 1)]
    pairs = ["".join(pair) for pair in product(ascii_lowercase, repeat=2)]
    return [f".{pair}" for pair in pairs[: pairs.index(last) + 1]]


def find_release(given: Path) -> ReleaseFiles:
    """The release in a folder, in one up to three folders below it, or in its zip archives; or in one archive.

    Where no MRCONSO is found, the files of the folder itself, so that what is missing can be told.

    Raises:
        InvalidInput: there is no such folder, it holds several releases, or an archive can't be used.
    """
    if given.is_dir():
        found = _in_folders(given) or _in_archives(given)
    elif zipfile.is_zipfile(given):
        found = _with_atoms(given, _members([given]))
    elif given.exists():
        raise InvalidInput(f"{given} is neither a folder nor a zip archive", hint=f"give its folder: {given.parent}")
    else:
        raise InvalidInput(f"there is no {given}", hint=_HINT)
    if len(found) > 1:
        raise InvalidInput(f"{given} holds several releases: {', '.join(found)}", hint="give one of them")
    if not found:
        return ReleaseFiles(given, _files_in(given) if given.is_dir() else {}, {})
    (release,) = found.values()
    return release


_Found = dict[str, ReleaseFiles]


def _in_folders(given: Path) -> _Found:
    """Of the folders nearest to the given one that hold an MRCONSO."""
    for depth in range(_DEPTH + 1):
        folders = sorted({path.parent for path in given.glob("*/" * depth + "*") if _is_atoms(path.name) and path.is_file()})
        if folders:
            return {str(folder): ReleaseFiles(folder, _files_in(folder), _above(folder)) for folder in folders}
    return {}


def _in_archives(given: Path) -> _Found:
    """Of the archives in the folders nearest to the given one."""
    for depth in range(_DEPTH):
        archives = sorted(path for path in given.glob("*/" * depth + "*") if path.suffix.casefold() in _ARCHIVES)
        if found := _with_atoms(given, _members(path for path in archives if path.name != _INSTALLER)):
            return found
    return {}


def _above(meta: Path) -> dict[str, Part]:
    path = meta.resolve().parent / RELEASE_FILE
    return {RELEASE_FILE: Part(path.name, path.stat().st_size, path)} if path.is_file() else {}


def _files_in(folder: Path) -> dict[str, Part]:
    paths = (path for path in sorted(folder.iterdir()) if _FILE.fullmatch(path.name) and path.is_file())
    return {path.name.casefold(): Part(path.name, path.stat().st_size, path) for path in paths}


def _members(archives: Iterable[Path]) -> dict[PurePosixPath, dict[str, Part]]:
    """What archives hold together, by folder."""
    found: dict[PurePosixPath, dict[str, Part]] = defaultdict(dict)
    for path in archives:
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except UNREADABLE as error:
            raise InvalidInput(f"{path} can't be read, it may be cut off: {error}", hint=f"{AGAIN}, or move it away") from error
        for member in members:
            place = PurePosixPath(member.filename)
            if not _FILE.fullmatch(place.name):
                continue
            refuse_member(path, member)
            if other := found[place.parent].get(place.name.casefold()):
                raise InvalidInput(f"{other.path} and {path.name} both hold {member.filename}", hint="leave one of them there")
            found[place.parent][place.name.casefold()] = Part(place.name, member.file_size, path, member.filename)
    return found


def refuse_member(path: Path, member: zipfile.ZipInfo) -> None:
    """Raises InvalidInput where a member of an archive is encrypted, or unpacks to far more than its size."""
    if member.flag_bits & 1:
        raise InvalidInput(f"{path} is encrypted", hint="unzip it, and give the META folder")
    if member.file_size > _MOST_UNPACKED + MAX_COMPRESSION * member.compress_size:
        place = f"{member.filename} in {path}"
        raise InvalidInput(
            f"{place} unpacks to over {MAX_COMPRESSION} times its size", hint="check that it is a file of a release"
        )


def _with_atoms(given: Path, folders: Mapping[PurePosixPath, dict[str, Part]]) -> _Found:
    return {
        str(folder): ReleaseFiles(given, parts, folders.get(folder.parent, {}))
        for folder, parts in folders.items()
        if any(map(_is_atoms, parts))
    }


def _is_atoms(name: str) -> bool:
    match = _FILE.fullmatch(name)
    return bool(match and match[1] and match[1].casefold() == f"{_ATOMS}.RRF".casefold())


_HINT = (
    "give the META folder of a UMLS release: it holds MRCONSO, MRREL and MRSTY; or the folder of a SNOMED CT release (RF2), "
    "or an ontology's file (.obo, .owl, .json)"
)


def _way_out(given: Path, stem: str) -> str:
    """What to do where a file is not found, by what is there instead."""
    names = sorted(path.name for path in given.iterdir()) if given.is_dir() else []
    packed = next((name for name in names if name.casefold().startswith(f"{stem}.RRF.".casefold())), "")
    if packed:
        return f"{packed} is not read as it is: unpack it to {stem}.RRF"
    archive = next((name for name in names if name.endswith(".nlm")), "")
    if archive:
        return (
            f"{archive} is there: an .nlm file is a zip archive, and those called -meta.nlm hold META. "
            "Put all of them there, whole, or unzip them and give META"
        )
    packages = next((name for name in (*names, given.name) if name.endswith(".zip")), "")
    if packages == _INSTALLER:
        return f"{_INSTALLER} is the installer, without data: give the folder with the -meta.nlm archives, or META"
    if packages:
        return f"unzip {packages}, and give the folder with META or with the -meta.nlm archives"
    return _HINT
