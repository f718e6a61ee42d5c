"""Companion files: the CUIs of images, a row each, as `ID, CUI, CUI…` or `ID, CUI;CUI…`, with or without a header."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from nbclip.errors import InvalidId, InvalidInput
from nbclip.files.delimited import SEPARATORS, records, separator_of
from nbclip.files.layout import ALIASES, find
from nbclip.files.lines import Line, TextFile
from nbclip.files.notes import warn
from nbclip.files.rows import Row, split_cuis
from nbclip.files.shards import IMAGE_SUFFIXES
from nbclip.ids import check_cui

_SAMPLE = 100
"""Lines that are looked at for the separator."""
_CUI_COLUMNS = (*ALIASES["cuis"], "concepts", "concept_ids")
_NO_ID = "empty image_id"
_SPACED = re.compile(r"\S+(\s+(?:[A-Z]+\d{2,16}|[1-9]\d{5,17}|[A-Za-z]\w*:\w+))+\s*")


@dataclass(frozen=True, slots=True)
class Companion:
    """The CUIs of images.

    Attributes:
        path: where they were read.
        cuis: of each id; none where the file has the id alone.
        bad: rows that can't be used.
    """

    path: Path
    cuis: Mapping[str, list[str]]
    bad: tuple[Row, ...]


def read_companion(path: Path, separator: str | None = None) -> Companion:
    """The CUIs of a companion file; those of several rows of one id are joined.

    Args:
        path: the file.
        separator: default: what stands behind the first ids.

    Raises:
        InvalidInput: the file can't be read, or is of another kind.
    """
    if {".parquet", ".jsonl", ".ndjson", ".json", ".tar"} & set(path.suffixes):
        raise InvalidInput(
            f"{path}: not a file of image ids and CUIs", hint="give them as a table of ID and CUIs, or in the file of captions"
        )
    cuis: dict[str, list[str]] = {}
    bad: list[Row] = []
    with TextFile(path) as source:
        for number, fields in _rows(iter(source), separator):
            if isinstance(fields, str):
                bad.append(Row(str(path), number, {}, fields))
                continue
            image_id = fields[0].strip()
            if not image_id:
                bad.append(Row(str(path), number, {}, _NO_ID))
                continue
            try:
                found = [check_cui(cui) for cui in split_cuis(" ".join(fields[1:]))]
                cuis.setdefault(image_id, []).extend(found)
            except InvalidId as error:
                bad.append(Row(str(path), number, {}, error.message))
    return Companion(path, {image_id: list(dict.fromkeys(each)) for image_id, each in cuis.items()}, tuple(bad))


def matched(companion: Companion, ids: Collection[str], otherwise: str) -> dict[str, list[str]]:
    """The companion's CUIs by the data's ids, with warnings of those that only one of the two has.

    Args:
        companion: CUIs by its own ids, which may have another ending (`.jpg`) than the data's, or none.
        ids: of the data.
        otherwise: what becomes of an image that it lacks, in words.

    Raises:
        InvalidInput: the companion has no id, or the two have none in common.
    """
    if not any(companion.cuis.values()):
        raise _without_cuis(companion)
    own = {image_id: image_id for image_id in companion.cuis}
    found = {image_id: own[image_id] for image_id in ids if image_id in own}
    if not found and ids:
        found = _by_stem(companion, ids)
        if not found:
            raise InvalidInput(
                f"{companion.path}: none of its {len(own)} ids is in the data: {_first(own)} there, {_first(ids)} here",
                hint="give the companion of this file, or ids that are written alike",
            )
        here, there = next(iter(found.items()))
        warn(f"{companion.path}: no id is as in the data; taken without endings such as .jpg: {there} for {here}")
    _warn_of(companion, [each for each in ids if each not in found], f"images of the data are not in it, {otherwise}")
    used = set(found.values())
    _warn_of(companion, [each for each in own if each not in used], "of its ids are not in the data")
    _warn_of(companion, [each for each, there in found.items() if not companion.cuis[there]], "images have no CUI in it")
    return {image_id: companion.cuis[there] for image_id, there in found.items()}


def _without_cuis(companion: Companion) -> InvalidInput:
    """The error of a companion file in which no row has an id and a CUI; names its first bad row."""
    bad = next((row for row in companion.bad if row.problem != _NO_ID), None)
    what = "no CUI in it" if companion.cuis or bad else "no row with an image id"
    first = f"; line {bad.number}: {bad.problem}" if bad else ""
    return InvalidInput(
        f"{companion.path}: {what}{first}",
        hint="its rows are ID, CUI, CUI…; a CUI is like C0024109, and not a name",
    )


def stem_of(image_id: str) -> str:
    """An id without the ending of an image file."""
    stem, _, suffix = image_id.rpartition(".")
    return stem if suffix.lower() in IMAGE_SUFFIXES else image_id


def _by_stem(companion: Companion, ids: Collection[str]) -> dict[str, str]:
    """The companion's id of each of the data's that is the same without endings."""
    doubled = [stem for stem, count in Counter(map(stem_of, companion.cuis)).items() if count > 1]
    by_stem = {stem_of(each): each for each in companion.cuis}
    found = {each: by_stem[stem_of(each)] for each in ids if stem_of(each) in by_stem}
    if found and doubled:
        raise InvalidInput(
            f"{companion.path}: several ids are {doubled[0]} without their endings", hint="write ids as in the data"
        )
    return found


def _warn_of(companion: Companion, ids: Collection[str], what: str) -> None:
    if ids:
        warn(f"{companion.path}: {len(ids)} {what}: {_first(ids)}")


def _first(ids: Collection[str]) -> str:
    return ", ".join(islice(ids, 2)) + (", …" if len(ids) > 2 else "")


def _rows(lines: Iterator[Line], separator: str | None) -> Iterator[tuple[int, list[str] | str]]:
    """Id and CUIs of each row, without the header."""
    ahead = list(islice(lines, _SAMPLE))
    told = separator_of(separator) if separator else _told([line.text for line in ahead])
    rows = records(chain(ahead, lines), told)
    first = next(rows, None)
    if first is None:
        return
    header = [] if isinstance(first[1], str) else first[1]
    ids, cuis = (_place(names, header) for names in (ALIASES["image_id"], _CUI_COLUMNS))
    if ids is None and cuis is None:
        yield first
    for number, fields in rows:
        if isinstance(fields, str) or cuis is None:
            yield number, fields
        elif len(fields) <= (ids or 0):
            yield number, _NO_ID
        else:
            # Columns before the CUIs are left aside, and so are those behind them that the header names.
            end = None if cuis == len(header) - 1 else cuis + 1
            yield number, [*fields[ids or 0 :][:1], *fields[cuis:end]]


def _place(names: Collection[str], header: list[str]) -> int | None:
    return next((place for place, name in enumerate(header) if find(name, names) is not None), None)


def _told(lines: list[str]) -> str:
    """A tab if there is one; else what stands first behind an id."""
    if any("\t" in line for line in lines):
        return "\t"
    for line in lines:
        places = {line.index(each): each for each in SEPARATORS.values() if each in line}
        if places:
            return places[min(places)]
    return " " if any(_SPACED.fullmatch(line) for line in lines) else "\t"
