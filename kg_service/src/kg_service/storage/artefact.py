"""Compiled folders: arrays as `.npy` files beside a `manifest.json` that names every file with its size and SHA-256.

A folder appears whole or not at all: it is written under another name, synced, and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound

from kg_service.storage import durable

Manifest = dict[str, Any]

_MANIFEST = "manifest.json"


@contextmanager
def writing_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `target` when the block ends well, in place of an older artefact there.

    Raises:
        InvalidInput: `target` exists and is no artefact, or can't be written.
    """
    if target.exists() and not (target / _MANIFEST).is_file() and (target.is_file() or any(target.iterdir())):
        raise InvalidInput(f"{target} exists and is no compiled artefact", hint="give an empty or a new folder")
    try:
        with durable.new_folder(target.parent) as folder:
            yield folder
            durable.install(folder, target)
    except OSError as error:
        raise InvalidInput(f"can't write {target}: {error}", hint="give a folder you may write to, with room") from error


def describe_file(path: Path) -> dict[str, str | int]:
    """Name, bytes and SHA-256, as manifests hold them."""
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": durable.sha256_of(path)}


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes `manifest.json`, with `files` (name, bytes, sha256) of all that lies in `directory` added."""
    files = [describe_file(path) for path in sorted(directory.iterdir())]
    text = json.dumps({**manifest, "files": files}, indent=1, sort_keys=True, ensure_ascii=False)
    (directory / _MANIFEST).write_text(text + "\n", encoding="utf-8")


def manifest_sha256(directory: Path) -> str:
    """SHA-256 of the manifest in hexadecimal, which stands for the content: the manifest names each file's."""
    return durable.sha256_of(directory / _MANIFEST)


def read_manifest(directory: Path, kind: str, version: int, *, hint: str, verify: bool = False) -> Manifest:
    """Reads `manifest.json` and checks kind, version and the files' sizes; with `verify` their SHA-256 too.

    Raises:
        NotFound: there is no such artefact.
        BrokenArtefact: it is damaged, or of another version.
    """
    path = directory / _MANIFEST
    if not path.is_file():
        raise NotFound(f"no {kind} in {directory}", hint=hint)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        kind_found, version_found = manifest["kind"], manifest["format"]
        files = [(str(entry["name"]), int(entry["bytes"]), str(entry["sha256"])) for entry in manifest["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{path} is damaged", hint=hint) from error
    if (kind_found, version_found) != (kind, version):
        raise BrokenArtefact(f"{directory} holds {kind_found} format {version_found}, not {kind} format {version}", hint=hint)
    for name, size, sha256 in files:
        _check_file(directory / name, size, sha256 if verify else None, hint)
    return dict(manifest)


def check_index(directory: Path, kind: str, version: int, made_from: str, *, hint: str) -> None:
    """As `read_manifest`, of an index; raises BrokenArtefact if it was not made from the vocabulary with this SHA-256."""
    if read_manifest(directory, kind, version, hint=hint).get("vocabulary") != made_from:
        raise BrokenArtefact(f"{directory} is the index of another vocabulary than {made_from:.12}…", hint=hint)


def _check_file(path: Path, size: int, sha256: str | None, hint: str) -> None:
    if not path.is_file():
        raise BrokenArtefact(f"{path} is missing", hint=hint)
    if path.stat().st_size != size:
        raise BrokenArtefact(f"{path} has {path.stat().st_size} bytes instead of {size}", hint=hint)
    if sha256 is not None and durable.sha256_of(path) != sha256:
        raise BrokenArtefact(f"{path} does not match its SHA-256", hint=hint)


def write_array(path: Path, dtype: npt.DTypeLike, batches: Iterable[npt.NDArray[Any]]) -> int:
    """Writes one-dimensional batches end to end as one `.npy` file; returns its length. Holds one batch in memory."""
    with ArrayWriter(path, dtype) as writer:
        for batch in batches:
            writer.add(batch)
    return writer.length


class ArrayWriter:
    """A `.npy` file that grows by one-dimensional batches; whole once it is left without an error."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._dtype = np.dtype(dtype)
        self._stream = path.open("wb")
        self.length = 0
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stream:
            self._stream.seek(0)
            self._write_header()

    def add(self, batch: npt.NDArray[Any]) -> None:
        """Writes a batch at the end."""
        self._stream.write(np.ascontiguousarray(batch, self._dtype).data)
        self.length += len(batch)

    def _write_header(self) -> None:
        # The format pads the header so that the first axis can grow in place: both headers have one size.
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._stream, header)


def open_array(directory: Path, name: str) -> npt.NDArray[Any]:
    """Memory-maps `<name>.npy`, read-only.

    Raises:
        BrokenArtefact: it is no such file.
    """
    path = directory / f"{name}.npy"
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise BrokenArtefact(f"{path} is no array: {error}", hint="build the artefact again") from error
