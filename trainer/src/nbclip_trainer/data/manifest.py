"""What an index was made of and with: `index.json`, and whether that still holds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from nbclip.files.addresses import Address, Location, location
from nbclip.schemas.base import Strict
from pydantic import ValidationError

from nbclip_trainer.data.settings import Check, Columns, DataSettings

VERSION = 2
_AT_ONCE = 32
MANIFEST = "index.json"
AGAIN = "make it again: nbclip index --data DATA --preset PRESET --out FOLDER"


class Source(Strict):
    """A file that was read, as it was then.

    Attributes:
        path: or its address.
        bytes: its size.
        modified_ns: of a file of this machine.
        version: of one at an address, where its protocol tells (`nbclip.files.remote.Found`).
    """

    path: str
    bytes: int
    modified_ns: int | None = None
    version: str | None = None


class Reading(Strict):
    """How the files were read."""

    columns: Columns
    format: str | None
    separator: str | None


class Part(Strict):
    """A split, or all rows.

    Attributes:
        split: its name; None: rows without one, or all.
        rows: how many.
        sha256: `Dataset.digest`.
        images: `Dataset.images_digest`.
        filled: columns that have a value.
        cut: captions that are longer than the context.
        longest: tokens of the longest of these, 0 where none is.
    """

    split: str | None
    rows: int
    sha256: str
    images: str
    filled: tuple[str, ...]
    cut: int
    longest: int


class Manifest(Strict):
    """What an index was made of and with.

    Attributes:
        version: of the format.
        sources: the files.
        reading: how they were read.
        check: how images were looked at, with which `max_pixels`.
        names: the columns.
        part_rows: rows of a part of the table.
        whole: all rows.
        splits: in the order of `by_split.npy`, the largest first.
        bad_rows: rows that are left out.
        shared: the sentences of `leaks.shared_between_splits`.
        tokenizer: whose tokens, by name.
        context: tokens of a caption.
    """

    version: int
    sources: tuple[Source, ...]
    reading: Reading
    check: Check
    max_pixels: int
    names: tuple[str, ...]
    part_rows: int
    whole: Part
    splits: tuple[Part, ...]
    bad_rows: int
    shared: tuple[str, ...]
    tokenizer: str
    context: int


def read_manifest(folder: Path) -> Manifest:
    """`index.json`; raises BrokenArtefact where it is damaged, InvalidInput where it is of another version."""
    path = folder / MANIFEST
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        version = tree["version"]
        if version == VERSION:
            return Manifest.model_validate_json(json.dumps(tree))
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise BrokenArtefact(f"{path}: not the description of an index", hint=AGAIN) from error
    raise InvalidInput(f"{folder}: an index of version {version}; this nbclip reads {VERSION}", hint=AGAIN)


def stamps(places: Iterable[Location]) -> Iterator[Source | None]:
    """Files as they are now, those at addresses asked for together; None where there is none."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(_stamp, places)


def _stamp(path: Location) -> Source | None:
    if isinstance(path, Address):
        try:
            at_address = path.found()
        except NotFound:
            return None
        return Source(path=path.url, bytes=at_address.size, version=at_address.version)
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Source(path=str(path), bytes=found.st_size, modified_ns=found.st_mtime_ns)


def refuse_changed(folder: Path, manifest: Manifest) -> None:
    """Raises InvalidInput where a file that was read has changed since, or is gone."""
    now = stamps(location(source.path) for source in manifest.sources)
    for source, found in zip(manifest.sources, now, strict=True):
        if found is None:
            raise InvalidInput(f"{source.path}: gone since {folder} was made of it", hint=AGAIN)
        if found != source:
            raise InvalidInput(f"{source.path}: changed since {folder} was made of it", hint=AGAIN)


def reading_of(settings: DataSettings) -> Reading:
    """How these settings read files."""
    return Reading(columns=settings.columns, format=settings.format, separator=settings.separator)


def refuse_other_reading(folder: Path, manifest: Manifest, settings: DataSettings) -> None:
    """Settings that were left as they are say nothing; others must be those that the index was made with."""
    usual, own, given = (one.model_dump() for one in (reading_of(DataSettings()), manifest.reading, reading_of(settings)))
    for tree in (usual, own, given):
        tree |= {f"columns.{name}": value for name, value in tree.pop("columns").items()}
    for name, value in given.items():
        if value not in (usual[name], own[name]):
            raise InvalidInput(f"{folder} was made with data.{name}={own[name]}, not {value}", hint=f"leave it out, or {AGAIN}")
