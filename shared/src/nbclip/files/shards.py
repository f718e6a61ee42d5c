"""WebDataset shards: tar files in which the members of one key (the name up to its first dot) are a pair.

    00017.jpg   the image, or any other of `IMAGE_SUFFIXES`
    00017.txt   its caption, or .caption, or
    00017.json  `{"caption": …, "image_id": …, "split": …, …}`; without `image_id` the key is the id

Without `split` it is that of the shard's name or folder: `train-000.tar`, `valid/000.tar`.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice, starmap
from pathlib import Path
from typing import Any, BinaryIO

from nbclip.errors import InvalidInput
from nbclip.files.addresses import Location
from nbclip.files.foreign import way_out
from nbclip.files.layout import Layout
from nbclip.files.lines import MAX_LINE_BYTES
from nbclip.files.ndjson import ObjectReader, object_of
from nbclip.files.pictures import place_in_shard
from nbclip.files.rows import Row, row_of

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif", "jp2", "dcm"})
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test", "retrieval": "retrieval"}
"""Splits by what files and folders of them are called."""
_TEXTS = ("txt", "caption")
_AHEAD = 100
Parts = dict[str, tarfile.TarInfo]


def read_shard(path: Location, layout: Layout, done: Callable[[float], None]) -> Iterator[Row]:
    """The pairs of a shard, in its order; `number` counts keys, and `file` is a place within the shard.

    Args:
        path: the shard.
        layout: how it is read.
        done: told what share of it is read, in [0, 1].

    Raises:
        InvalidInput: the shard is no tar file, is compressed or cut off, or its objects lack a key that was chosen.
    """
    try:
        with path.open("rb") as file, _opened(file) as shard:
            keys, twice = _by_key(_members(shard))
            read = partial(_values, shard, split_named(path))
            first = [values for values, problem in starmap(read, islice(keys.items(), _AHEAD)) if not problem]
            reader = ObjectReader(str(path), replace(layout, required=()), first)
            for number, (key, parts) in enumerate(keys.items(), 1):
                values, problem = read(key, parts)
                done(number / len(keys))
                row = row_of(str(path), number, reader.pick(number, values))
                if "file" in layout.fields:
                    row.values["file"], none = _image(path, key, parts)
                    problem = problem or none
                yield row._replace(problem=twice.get(key) or problem or row.problem)
    except tarfile.TarError as error:
        hint = way_out(path, "shards are whole, uncompressed tar files: get it again")
        raise InvalidInput(f"{path}: {error}", hint=hint) from error


def split_named(path: Location) -> str | None:
    """The split that a file's or its folder's name says."""
    names = (re.split(r"[-_.\d]", path.name.lower())[0], path.absolute().parent.name.lower())
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def _opened(file: BinaryIO) -> tarfile.TarFile:
    with _headers():
        return tarfile.open(fileobj=file, mode="r:")


def _members(shard: tarfile.TarFile) -> list[tarfile.TarInfo]:
    with _headers():
        return [member for member in shard if member.isfile() and not Path(member.name).name.startswith(".")]


@contextmanager
def _headers() -> Iterator[None]:
    """Numbers of headers that are none, or too large to go to: `tarfile` takes these for no damage."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise tarfile.ReadError(f"damaged header: {error}") from error


def _by_key(members: list[tarfile.TarInfo]) -> tuple[dict[str, Parts], dict[str, str]]:
    """Members by key, then by lower-case suffix; and what is wrong with a key of which one is there twice."""
    pairs: dict[str, Parts] = {}
    twice: dict[str, str] = {}
    for member in members:
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        stem, _, suffix = name.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if member is not pairs.setdefault(key, {}).setdefault(suffix.lower(), member):
            twice.setdefault(key, f"{member.name} occurs twice: was the shard extended or joined?")
    return pairs, twice


def _values(shard: tarfile.TarFile, split: str | None, key: str, parts: Parts) -> tuple[dict[str, Any], str]:
    """What a pair says of itself, and what is wrong with it."""
    values: dict[str, Any] = {"image_id": key, "split": split, "caption": None}
    large = next((parts[suffix] for suffix in (*_TEXTS, "json") if suffix in parts and parts[suffix].size > MAX_LINE_BYTES), None)
    if large is not None:
        return values, f"{large.name} has {large.size} bytes, over {MAX_LINE_BYTES}"
    if "json" in parts:
        found = object_of(_content(shard, parts["json"]))
        if isinstance(found, str):
            return values, f"{found}, in {parts['json'].name}"
        values |= found
    text = next((parts[suffix] for suffix in _TEXTS if suffix in parts), None)
    if text is not None:
        try:
            values["caption"] = _content(shard, text).decode()
        except UnicodeDecodeError as error:
            return values, f"not UTF-8: byte {error.start + 1} of {text.name}"
    return values, ""


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    with _headers():
        file = shard.extractfile(member)
        return b"" if file is None else file.read()


def _image(path: Location, key: str, parts: Parts) -> tuple[str | None, str]:
    """Where a pair's image lies, or why there is none."""
    images = [member for suffix, member in parts.items() if suffix in IMAGE_SUFFIXES]
    if len(images) == 1:
        return place_in_shard(path, images[0].offset_data, images[0].size), ""
    return None, f"{len(images) or 'no'} image{'s' if images else ''}: {key} has .{', .'.join(sorted(parts))}"
