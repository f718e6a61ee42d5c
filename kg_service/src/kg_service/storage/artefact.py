"""Artefacts: folders of arrays with a `manifest.json` that names each file with its size and SHA-256.

Vocabulary, name index, 3-gram index, prior and snapshots are artefacts. The first four have `kind` and `format` in the manifest
and are opened here. A snapshot has another manifest (`snapshot/manifest.py`), because its bytes name the snapshot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
from nbclip.errors import BrokenArtefact, InvalidInput, NBClipError, NotFound, os_reason

from kg_service.storage.arrays import Arrays, open_arrays
from kg_service.storage.replacement import install
from kg_service.storage.scratch import new_folder
from kg_service.storage.sweeping import sweep
from kg_service.storage.writing import is_full, unwritten

Manifest = dict[str, Any]

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as manifests name it; `sha256` in hexadecimal."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Artefact:
    """An opened artefact.

    Attributes:
        folder: where it is.
        manifest: what it says of itself.
        sha256: of the manifest, in hexadecimal; it identifies the content, because the manifest has each file's.
        arrays: mapped, read-only, by name.
    """

    folder: Path
    manifest: Manifest
    sha256: str
    arrays: Arrays

    def array(self, name: str) -> npt.NDArray[Any]:
        """The array of this name.

        Raises:
            BrokenArtefact: there is none.
        """
        if name not in self.arrays:
            raise BrokenArtefact(f"{self.folder} lacks the array {name}", hint="build the artefact again")
        return self.arrays[name]


@contextmanager
def writing_artefact(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target` when the block ends well; an older artefact there is replaced.

    Raises:
        InvalidInput: `target` exists and is no artefact, or can't be written.
        Unavailable: the disk is full.
    """
    if target.exists() and not (target / MANIFEST).is_file() and (target.is_file() or any(target.iterdir())):
        raise InvalidInput(f"{target} exists and is not a compiled artefact", hint="name an empty or a new folder")
    try:
        with new_folder(target.parent) as folder:
            yield folder
            install(folder, target)
    except OSError as error:
        if is_full(error):
            raise unwritten(f"can't write {target}", target.parent, error) from error
        raise InvalidInput(f"can't write {target}: {os_reason(error)}", hint="name a folder that you may write to") from error


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest.json`, with the entry `files` for all that is in `folder`."""
    files = [asdict(file) for file in describe_files(folder)]
    text = json.dumps({**manifest, "files": files}, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def open_artefact(folder: Path, kind: str, version: int, *others: int, hint: str, verify: bool = False) -> Artefact:
    """The artefact in `folder`, after a check of its files' sizes; with `verify` of their SHA-256 too.

    `others` are versions of its format that can be read beside `version`.

    An artefact that is replaced while it is opened is opened again, so that parts of two never mix.

    Raises:
        NotFound: there is none.
        BrokenArtefact: it is damaged, or of another kind or version.
    """
    if not folder.exists():
        sweep(folder.parent)  # completes a replacement that was cut short
    while True:
        before = _identity(folder)
        try:
            opened = _open(folder, kind, (version, *others), hint, verify)
        except (NBClipError, OSError):
            if _identity(folder) == before:
                raise
        else:
            if _identity(folder) == before:
                return opened


def open_index(folder: Path, kind: str, version: int, made_from: str, *, hint: str) -> Artefact:
    """As `open_artefact`, of an index; raises BrokenArtefact if it was not made from the vocabulary with this SHA-256."""
    opened = open_artefact(folder, kind, version, hint=hint)
    if opened.manifest.get("vocabulary") != made_from:
        raise BrokenArtefact(f"{folder} is the index of a vocabulary other than {made_from:.12}…", hint=hint)
    return opened


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        state = folder.stat()
    except FileNotFoundError:
        return None
    return state.st_dev, state.st_ino


def _open(folder: Path, kind: str, versions: tuple[int, ...], hint: str, verify: bool) -> Artefact:
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"no {kind}: {path} is missing", hint=hint)
    try:
        content = path.read_bytes()
        manifest = dict(json.loads(content))
        kind_found, version_found = manifest["kind"], manifest["format"]
        files = [FileRecord(str(file["name"]), int(file["bytes"]), str(file["sha256"])) for file in manifest["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{path} is damaged", hint=hint) from error
    if kind_found != kind or version_found not in versions:
        raise BrokenArtefact(f"{folder} holds {kind_found} format {version_found}, not {kind} format {versions[0]}", hint=hint)
    check_files(folder, files, hint=hint, digests=verify)
    return Artefact(folder, manifest, hashlib.sha256(content).hexdigest(), open_arrays(folder, [file.name for file in files]))


def describe_files(folder: Path) -> list[FileRecord]:
    """Every file of a folder, by name."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(describe_file, sorted(folder.iterdir())))


def describe_file(path: Path) -> FileRecord:
    """A file's record."""
    return FileRecord(path.name, path.stat().st_size, sha256_of(path))


def check_files(folder: Path, files: Iterable[FileRecord], *, hint: str, digests: bool) -> None:
    """Checks that a folder has these files with these sizes; with `digests` the SHA-256 too.

    Raises:
        BrokenArtefact: naming the first that differs.
    """
    files = list(files)
    for file in files:
        path = folder / file.name
        if not path.is_file():
            raise BrokenArtefact(f"{path} is missing", hint=hint)
        if path.stat().st_size != file.bytes:
            raise BrokenArtefact(f"{path} has {path.stat().st_size} bytes instead of {file.bytes}", hint=hint)
    if digests:
        check_digests(folder, files, hint=hint)


def check_digests(folder: Path, files: Sequence[FileRecord], *, hint: str) -> None:
    """Checks the SHA-256 of these files; raises BrokenArtefact, naming the first that differs."""
    with ThreadPoolExecutor() as threads:  # a snapshot of many images has gigabytes
        for file, found in zip(files, threads.map(lambda file: sha256_of(folder / file.name), files), strict=True):
            if found != file.sha256:
                raise other_digest(folder / file.name, hint)


def other_digest(path: Path, hint: str) -> BrokenArtefact:
    """The error of a file that is not what a manifest says."""
    return BrokenArtefact(f"{path} does not match its SHA-256", hint=hint)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
