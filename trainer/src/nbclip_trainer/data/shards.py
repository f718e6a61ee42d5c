"""WebDataset shards: tar files in which the members of one key (the name up to its first dot) are a pair.

    00017.jpg   the image, or any other of `IMAGE_SUFFIXES`
    00017.txt   its caption, or
    00017.json  `{"caption": …, "image_id": …, "split": …, …}`; without `image_id` the key is the id

Without `split` it is that of the shard's name or folder: `train-000.tar`, `valid/000.tar`.

A member is read where it lies, so that a batch plan can draw pairs in any order: its place in the shard follows the shard's name,
as in `train-000.tar#1536+20394` (offset and size in bytes).
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from nbclip.errors import InvalidInput

from nbclip_trainer.data.tables import SPLITS, Values

IMAGE_SUFFIXES = frozenset({"jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif", "jp2"})
_MEMBER = re.compile(r"(?P<shard>.+\.tar)#(?P<offset>\d+)\+(?P<size>\d+)")


def read_shard(path: Path) -> Iterator[tuple[int, Values]]:
    """Number (from 1) and values of each pair, in the order of the shard.

    Raises:
        InvalidInput: the shard is no tar file, is compressed or cut off, or holds a pair that can't be used.
    """
    try:
        with tarfile.open(path, "r:") as shard:
            members = [member for member in shard if member.isfile() and not Path(member.name).name.startswith(".")]
            for number, (key, parts) in enumerate(_by_key(path, members).items(), 1):
                yield number, _pair(f"{path}: {key}", key, parts, path, shard)
    except tarfile.TarError as error:
        raise InvalidInput(f"{path}: {error}", hint="shards are whole, uncompressed tar files") from error


def open_image_file(path: Path) -> BinaryIO:
    """An image's bytes, from a file or from within a shard."""
    match = _MEMBER.fullmatch(str(path))
    if match is None:
        return path.open("rb")
    with Path(match["shard"]).open("rb") as shard:
        shard.seek(int(match["offset"]))
        return BytesIO(shard.read(int(match["size"])))


def _by_key(path: Path, members: list[tarfile.TarInfo]) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Members by key, then by lower-case suffix."""
    pairs: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in members:
        folder, _, name = member.name.rpartition("/")
        stem, _, suffix = name.partition(".")
        parts = pairs.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if suffix.lower() in parts:
            raise InvalidInput(f"{path}: {member.name} occurs twice", hint="was the shard extended or joined? write it again")
        parts[suffix.lower()] = member
    return pairs


def _pair(place: str, key: str, parts: dict[str, tarfile.TarInfo], path: Path, shard: tarfile.TarFile) -> Values:
    images = [member for suffix, member in parts.items() if suffix in IMAGE_SUFFIXES]
    if len(images) != 1:
        raise InvalidInput(
            f"{place}: {len(images)} images among .{', .'.join(sorted(parts))}",
            hint=f"a key has one image (.{', .'.join(sorted(IMAGE_SUFFIXES))}) and a caption (.txt or .json)",
        )
    if not {"json", "txt"} & parts.keys():
        raise InvalidInput(
            f"{place}: no caption among .{', .'.join(sorted(parts))}", hint="it is in .txt, or in .json as caption"
        )
    values: Values = {"image_id": key, "split": _split_of(path)}
    if "json" in parts:
        values |= _json(place, _content(shard, parts["json"]))
    if "txt" in parts:
        values["caption"] = _text(place, _content(shard, parts["txt"]))
    location = f"{path.absolute()}#{images[0].offset_data}+{images[0].size}"
    return {"caption": None, **values, "file": location}


def _split_of(path: Path) -> str | None:
    names = (re.split(r"[-_.\d]", path.name.lower())[0], path.absolute().parent.name.lower())
    return next((SPLITS[name] for name in names if name in SPLITS), None)


def _content(shard: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = shard.extractfile(member)
    return b"" if file is None else file.read()


def _json(place: str, content: bytes) -> Values:
    try:
        values = json.loads(content)
    except ValueError as error:
        raise InvalidInput(f"{place}: not JSON: {error}", hint="fix or drop the pair") from error
    if not isinstance(values, dict):
        raise InvalidInput(f"{place}: the JSON is no object", hint='for example {"caption": "…"}')
    return {str(name): _as_text(value) for name, value in values.items() if not isinstance(value, dict)}


def _as_text(value: Any) -> str | None:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return None if value is None else str(value)


def _text(place: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{place}: not UTF-8 at byte {error.start}", hint="fix or drop the pair") from error
