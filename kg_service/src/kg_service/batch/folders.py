"""What of a folder a batch would not read: told before it is planned, as nobody looks at millions of rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import has_magic
from pathlib import Path

from nbclip.errors import InvalidInput
from nbclip.files.folders import roco_parts
from nbclip.files.notes import warn
from nbclip.files.sources import readable_in
from nbclip.wording import counted

_KINDS = {"webdataset": "shards", "parquet": "Parquet files"}
_TEXTS = "tables or NDJSON"
_ONE = {"shards": "shard", "Parquet files": "Parquet file", _TEXTS: "table or NDJSON"}
_SHOWN = 3


def check_folders(paths: Iterable[Path]) -> None:
    """Looks through the folders among what is to be planned; files and patterns say what they mean.

    Files that no name tells how to read, and folders with files that could be read, are named in a warning.

    Raises:
        InvalidInput: nothing is there, or the folder is empty; a folder has files of several kinds, of which one may say again
            what the other says; or its files are all in folders in it.
    """
    for folder in paths:
        _refuse_missing(folder)
        if folder.is_dir() and not roco_parts(folder):
            _refuse_mixed(folder)
            _tell_of_inner(folder)
            _tell_of_unread(folder)


def refuse_twice(files: Iterable[Path]) -> None:
    """Refuses one file under two paths, or given twice: its rows would count twice.

    Raises:
        InvalidInput: it names both paths.
    """
    first: dict[Path, Path] = {}
    for path in files:
        real = path.resolve()
        if real in first:
            same = "is given twice" if first[real] == path else f"is the same file as {first[real]}"
            raise InvalidInput(f"{path} {same}", hint="give each file once; a folder or pattern may hold it already")
        first[real] = path


def _refuse_missing(path: Path) -> None:
    if not path.exists() and not has_magic(str(path)):
        raise InvalidInput(f"{path} doesn't exist", hint="check the path, or mount what it is on")
    if path.is_dir() and not any(path.iterdir()):
        raise InvalidInput(f"{path} is an empty folder", hint="name a folder that has the captions, or the files themselves")


def _refuse_mixed(folder: Path) -> None:
    kinds: dict[str, list[Path]] = {}
    for path, kind in readable_in(folder).items():
        kinds.setdefault(_KINDS.get(kind, _TEXTS), []).append(path)
    if len(kinds) > 1:
        counts = " and ".join(
            f"{counted(len(files), _ONE[kind], kind)} ({_named(file.name for file in files)})" for kind, files in kinds.items()
        )
        patterns = [
            f"'{folder / pattern}'" for pattern in sorted({f"*{_ending(file)}" for files in kinds.values() for file in files})
        ]
        raise InvalidInput(
            f"{folder} has {counts}: do they hold the same rows?",
            hint=f"name those that are to be read by patterns: {', '.join(patterns)}; all of them if rows differ",
        )


def _tell_of_inner(folder: Path) -> None:
    inner = list(_readable_inside(folder))
    if not inner:
        return
    lacking = f"folders in it are not read: {_named(map(str, inner))}"
    hint = "name each folder that is to be read"
    if not readable_in(folder):
        raise InvalidInput(f"{folder}: no file that can be read, and {lacking}", hint=hint)
    warn(f"{folder}: {lacking}; {hint}")


def _readable_inside(folder: Path) -> Iterator[Path]:
    """Folders below this one with a file that can be read, or with ROCO, in order."""
    for place, names, _ in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        inner = Path(place)
        if inner != folder and (readable_in(inner) or roco_parts(inner)):
            yield inner


def _tell_of_unread(folder: Path) -> None:
    readable = readable_in(folder)
    others = [path for path in folder.iterdir() if path.is_file() and path not in readable and not path.name.startswith(".")]
    if others:
        endings = Counter(path.suffix or path.name for path in others)
        counts = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
        warn(f"{folder}: files whose names tell no format are not read: {counts}; name those that are to be, with --format")


def _ending(path: Path) -> str:
    """`.csv.gz`, `.parquet`: all that tells the format."""
    packed = ".gz" if path.name.lower().endswith(".gz") else ""
    return Path(path.name.removesuffix(path.suffix) if packed else path.name).suffix + (path.suffix if packed else "")


def _named(names: Iterable[str]) -> str:
    named = list(names)
    return ", ".join(named[:_SHOWN]) + (", …" if len(named) > _SHOWN else "")
