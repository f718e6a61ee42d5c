"""Writes an index: pairs in parts with their tokens, then what only all of them tell, then a look at every image.

What is done stays in a folder beside, `.NAME.tmp`, until all is done and it takes its name: the same command goes on from there.
Beside the parts under way, memory holds 30 bytes a row.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from nbclip.errors import Conflict
from nbclip.files.addresses import Address, Location
from nbclip.files.folders import roco_parts
from nbclip.files.reading import Rows
from nbclip.flushing import sync

from nbclip_trainer.data.checking import Findings, findings, looked_at
from nbclip_trainer.data.dataset import layout_of, refuse_empty, rows_of_files
from nbclip_trainer.data.indexed import BAD_IMAGES, BAD_ROWS, BY_SPLIT, FRAMES, ROWS
from nbclip_trainer.data.manifest import MANIFEST, VERSION, Manifest, Source, reading_of, stamps
from nbclip_trainer.data.mapped import Table, part_file, write_json
from nbclip_trainer.data.meanwhile import READ, Meanwhile, SoFar, are_elsewhere, note_part, so_far
from nbclip_trainer.data.parts import TEXTS, Encoding, Parts, join_texts, next_part
from nbclip_trainer.data.rows import columns_of, refuse_bad_rows, usable
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.data.tally import tallied

_CHECKS, _BEGUN, _LOCK = "checks", "begun.json", "lock"
_TOLD_EVERY = 1_000
_PART_ROWS = 65_536
Told = Callable[[str, float], None]
"""Told what is under way, and what share of it is done, [0, 1]."""
T = TypeVar("T")


def write_index(
    folder: Path,
    settings: DataSettings,
    encoding: Encoding,
    told: Told = lambda stage, share: None,
    *,
    part_rows: int = _PART_ROWS,
) -> Manifest:
    """Makes an index of the data.

    Args:
        folder: to create.
        settings: which files, how they are read, and how images are looked at.
        encoding: of the captions.
        told: of progress.
        part_rows: rows of a part: those under way are in memory.

    Raises:
        Conflict: the folder is there, or another process is making it.
        InvalidInput: as `read_dataset`.
    """
    if folder.exists():
        raise Conflict(f"{folder} already exists", hint="remove it, or choose another --out")
    rows = rows_of_files(settings.files, layout_of(settings))
    sources = tuple(filter(None, stamps(file.absolute() for path in rows.paths for file in _files(path))))
    with _work_folder(folder, _begun(sources, settings, encoding, part_rows)) as work:
        with Parts(work, encoding, settings.workers, part_rows) as parts:
            table, names, bad_rows = _read(work, rows, parts, settings, told)
        length_N, context = join_texts(work, table)
        tally = tallied(table, length_N)
        np.save(work / BY_SPLIT, tally.by_split)
        _check(work, table, settings, told)
        manifest = Manifest(
            version=VERSION,
            sources=sources,
            reading=reading_of(settings),
            check=settings.check,
            max_pixels=settings.max_pixels,
            names=names,
            part_rows=part_rows,
            whole=tally.whole,
            splits=tally.splits,
            bad_rows=bad_rows,
            shared=tally.shared,
            tokenizer=encoding.tokenizer,
            context=context,
        )
        (work / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        _settle(work, folder)
    return manifest


def _read(work: Path, rows: Rows, parts: Parts, settings: DataSettings, told: Told) -> tuple[Table, tuple[str, ...], int]:
    """Writes the pairs; returns them, their columns, and how many rows are left out."""
    elsewhere = are_elsewhere(rows)
    done = so_far(work, rows) if elsewhere else SoFar()
    bad, names, count = list(done.bad), dict.fromkeys(done.names), done.rows
    meanwhile = Meanwhile(rows, settings, done)
    found = iter(meanwhile) if elsewhere else usable(rows)
    parts.number, known = done.parts, len(bad)
    while values := next_part(found, bad, parts.part_rows):
        number = parts.number
        parts.add(values)
        names.update(dict.fromkeys(columns_of(values)))
        if elsewhere:
            if looked := meanwhile.take(len(values)):
                _write_findings(work, number, findings(enumerate(looked, count)))
            note_part(work, number, values, bad[known:], rows.empty)
            known = len(bad)
        count += len(values)
        told("reading", rows.position / max(rows.size, 1))
    refuse_empty(rows)
    # Without a row there is nothing to make, whatever share of bad ones is allowed.
    refuse_bad_rows(len(bad), count, next(iter(bad), ""), settings.max_bad_row_share if count else 0)
    (work / BAD_ROWS).write_text("".join(f"{' '.join(line.splitlines())}\n" for line in bad), encoding="utf-8")
    return Table(work / ROWS, count, parts.part_rows), tuple(names), len(bad)


def _check(work: Path, table: Table, settings: DataSettings, told: Told) -> None:
    """Looks at the images, part by part, and writes down what was found."""
    bad: dict[int, str] = {}
    frames: list[tuple[int, int]] = []
    for number in table.parts:
        path = part_file(work / _CHECKS, number, "json")
        if not path.exists():
            looked = looked_at(table.column(number, "file").to_pylist(), settings)
            found = findings(_counted(looked, table.rows_of_part(number).start, len(table), told))
            _write_findings(work, number, found)
        bad_here, frames_here = json.loads(path.read_text(encoding="utf-8"))
        bad.update(bad_here)
        frames += map(tuple, frames_here)
    (work / BAD_IMAGES).write_text(json.dumps(bad), encoding="utf-8")
    np.save(work / FRAMES, np.array(frames, np.int64).reshape(-1, 2))


def _write_findings(work: Path, number: int, found: Findings) -> None:
    write_json(part_file(work / _CHECKS, number, "json"), [list(found.bad.items()), list(found.frames.items())])


def _counted(looked: Iterable[T], first: int, total: int, told: Told) -> Iterator[tuple[int, T]]:
    """With the row of each."""
    for row, one in enumerate(looked, first):
        if row % _TOLD_EVERY == 0:
            told("looking at images", row / total)
        yield row, one


def _begun(sources: tuple[Source, ...], settings: DataSettings, encoding: Encoding, part_rows: int) -> str:
    """All that what is half done depends on."""
    reading = reading_of(settings).model_dump()
    made_with = [VERSION, part_rows, reading, settings.check, settings.max_pixels, encoding.settings]
    return json.dumps([*made_with, [source.model_dump() for source in sources]])


def _files(path: Location) -> Sequence[Location]:
    """The files that are read of a path."""
    if isinstance(path, Address) or not path.is_dir():
        return [path]
    return [file for part in roco_parts(path) for file in (part.captions, *part.companions)]


@contextmanager
def _work_folder(folder: Path, begun: str) -> Iterator[Path]:
    """The folder beside, with what an earlier process has done of the same in it."""
    work = folder.with_name(f".{folder.name}.tmp")
    work.mkdir(parents=True, exist_ok=True)
    with (work / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"{folder}: another process is making it", hint="wait for it or choose another --out") from error
        path = work / _BEGUN
        if not path.is_file() or path.read_text(encoding="utf-8") != begun:
            for other in (each for each in work.iterdir() if each.name != _LOCK):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
            for name in (ROWS, TEXTS, _CHECKS, READ):
                (work / name).mkdir()
            path.write_text(begun, encoding="utf-8")
        yield work


def _settle(work: Path, folder: Path) -> None:
    """Gives what is done its name, flushed to disk."""
    for name in (TEXTS, _CHECKS, READ):
        shutil.rmtree(work / name)
    for name in (_BEGUN, _LOCK):
        (work / name).unlink()
    for path in (*work.rglob("*"), work):
        sync(path)
    work.rename(folder)
    sync(folder.parent)
