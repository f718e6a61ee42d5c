"""Which files paths, addresses and patterns name, and of which format each is by its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

from nbclip.errors import InvalidInput
from nbclip.files.addresses import Address, Location, braces_written_out, location, size_of
from nbclip.files.folders import roco_parts
from nbclip.files.layout import Format
from nbclip.files.notes import warn

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "roco",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".tar": "webdataset",
}
_PACKED_SHARD = re.compile(r"\.(tar\.(gz|bz2|xz|zst|lz4)|tgz|tbz2?|txz)$")


@overload
def sources_of(paths: Iterable[Path]) -> Sequence[Path]: ...
@overload
def sources_of(paths: Iterable[Location]) -> Sequence[Location]: ...
def sources_of(paths: Iterable[Location]) -> Sequence[Location]:
    """Files, and folders of ROCO, that these name: `{000..009}`, `*` and the like written out, other folders opened.

    Raises:
        InvalidInput: a pattern that nothing has.
    """
    return [source for path in paths for each in _written_out(path) for source in _sources(each)]


def format_of(path: Location) -> Format | None:
    """The format by the file's name; None if that says none.

    Raises:
        InvalidInput: it is a packed shard.
    """
    name = path.name.lower()
    if _PACKED_SHARD.search(name):
        raise InvalidInput(
            f"{path}: a packed shard can't be read in any order", hint="unpack it to .tar: gunzip, bunzip2, unxz or zstd -d"
        )
    return _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix)


def _written_out(path: Location) -> list[Location]:
    is_pattern = isinstance(path, Address) or not path.exists()
    return [location(text) for text in braces_written_out(str(path))] if is_pattern else [path]


def _sources(path: Location) -> Sequence[Location]:
    is_pattern = any(character in path.name for character in "*?[")
    if isinstance(path, Address):
        return path.listed() if is_pattern else [path]
    if is_pattern and not path.exists():
        found = sorted(path.parent.glob(path.name))
        if not found:
            raise InvalidInput(f"{path}: no file matches", hint="quote the pattern, and check its folder")
        return found
    return _parts(path) or [path] if path.is_dir() and not roco_parts(path) else [path]


def readable_in(folder: Path) -> dict[Path, Format]:
    """The files of a folder itself that can be read, in order, with their formats; those of ROCO are told by their folder."""
    kinds = {path: format_of(path) for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")}
    return {path: kind for path, kind in kinds.items() if kind is not None and kind != "roco"}


def _parts(folder: Path) -> list[Path]:
    """The files of a folder that can be read: shards, or else Parquet, or else tables and objects."""
    readable = readable_in(folder)
    taken = next((kind for kind in ("webdataset", "parquet") if kind in readable.values()), None)
    parts = [path for path, kind in readable.items() if taken in (None, kind)]
    others = [path.name for path in readable if path not in parts]
    if others:
        warn(f"{folder}: {len(parts)} {taken} files are read; left aside: {', '.join(others[:3])}{', …' if others[3:] else ''}")
    return parts


def size_in_bytes(path: Location) -> int:
    """Of what is read of it; raises InvalidInput if it can't be."""
    try:
        if isinstance(path, Path) and path.is_dir():
            return sum(part.captions.stat().st_size for part in roco_parts(path))
        return size_of(path)
    except OSError as error:
        raise InvalidInput(f"can't read {path}: {error.strerror}", hint="check the path") from error
