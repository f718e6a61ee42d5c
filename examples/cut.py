"""Cuts the example data out of an open vocabulary in RRF form and a folder of radiology pictures with captions.

The same input gives the same bytes (with the same Pillow and zlib). Licence and read-me files are written by hand and left alone.

    python examples/cut.py --open-umls DIR --radiology-mini DIR --out examples
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import sys
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from PIL import Image

Row = list[str]
"""The fields of an RRF row, without the empty one behind the last pipe."""
Picture = dict[str, str]
"""A row of the source's metadata.csv."""
Words = frozenset[str]

COLUMNS = {"MRCONSO": 18, "MRREL": 16, "MRSTY": 6}
LEFT_OUT = frozenset({"HPO", "HPOMAP"})  # The terms of the Human Phenotype Ontology ask for its content whole.
RELEASE = "open-umls-example-2"

FOLDERS: Mapping[str, Callable[[Picture], bool]] = {
    "radiology-open": lambda picture: picture["licence_class"] == "open",
    "rocov2": lambda picture: picture["source"] == "rocov2-sample",
}
FIELDS = (
    *("image_id", "file", "caption", "caption_source", "modality", "organ", "modality_organ", "split", "source"),
    *("licence", "url", "attribution", "group", "cuis", "original_id"),
)
LONGEST_SIDE = 128
JPEG_QUALITY = 70

_WORD = re.compile(r"[^\W_]+")
_BRITISH = re.compile(r"[ao]e(?=\w{2})")
_ENDING = re.compile(r"(?<=\w{3})(?:ations?|ions?|ings?|ed|als?|ics?|ies|y|es|is|e|(?<![su])s)$")
_STOP_WORDS = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "nos", "of", "on", "or", "the", "to", "with"])


class BadInput(Exception):
    """What was given can't be cut."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Cut the example data out of its sources.")
    parser.add_argument("--open-umls", type=Path, required=True, metavar="DIR", help="MRCONSO, MRREL and MRSTY, plain or .gz")
    parser.add_argument("--radiology-mini", type=Path, required=True, metavar="DIR", help="metadata.csv and images/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the example folders are written")
    options = parser.parse_args(arguments)
    try:
        cut(options.open_umls, options.radiology_mini, options.out)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def cut(umls_dir: Path, radiology_dir: Path, out_dir: Path) -> None:
    """Writes `vocabulary`, `radiology-open` and `rocov2` below `out_dir`."""
    pictures = read_pictures(radiology_dir / "metadata.csv")
    chosen = {folder: [picture for picture in pictures if belongs(picture)] for folder, belongs in FOLDERS.items()}
    cut_vocabulary(umls_dir, [picture for rows in chosen.values() for picture in rows], out_dir / "vocabulary")
    for folder, rows in chosen.items():
        cut_pictures(radiology_dir, rows, out_dir / folder)


def cut_vocabulary(umls_dir: Path, pictures: list[Picture], out_dir: Path) -> None:
    """Keeps the concepts that the captions name, the pictures' own CUIs, and all is_a ancestors of both."""
    names = [row for row in read_rrf(umls_dir, "MRCONSO") if row[11] not in LEFT_OUT]
    known = {row[0] for row in names}
    relations = [row for row in read_rrf(umls_dir, "MRREL") if row[10] not in LEFT_OUT and {row[0], row[4]} <= known]
    seeds = named_concepts(names, (picture["caption"] for picture in pictures))
    seeds |= {cui for picture in pictures for cui in cuis_of(picture)} & known
    kept = with_ancestors(seeds, relations)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_rrf(out_dir, "MRCONSO", [row for row in names if row[0] in kept])
    write_rrf(out_dir, "MRREL", [row for row in relations if {row[0], row[4]} <= kept])
    write_rrf(out_dir, "MRSTY", [row for row in read_rrf(umls_dir, "MRSTY") if row[0] in kept])
    (out_dir / "release.dat").write_text(f"umls.release.name={RELEASE}\n", encoding="utf-8")
    print(f"vocabulary: {len(kept)} concepts, of them {len(seeds)} named by a caption or given with a picture")


def named_concepts(names: list[Row], captions: Iterable[str]) -> set[str]:
    """CUIs one of whose names has all its words, in whatever order, in one caption: a looser test than a linker's."""
    caption_words = list({frozenset().union(*spellings(caption)) for caption in captions})
    captions_with: dict[str, set[int]] = defaultdict(set)
    for number, words in enumerate(caption_words):
        for word in words:
            captions_with[word].add(number)

    def is_named(words: Words) -> bool:
        rarest = min((captions_with.get(word, set()) for word in words), key=len, default=set())
        return any(words <= caption_words[number] for number in rarest)

    return {row[0] for row in names if any(is_named(words - _STOP_WORDS) for words in spellings(row[14]))}


def spellings(text: str) -> set[Words]:
    """The text's words, once with hyphens as gaps and once without hyphens (`x-ray`, `xray`)."""
    return {frozenset(map(stem, _WORD.findall(form))) for form in (text.lower(), text.lower().replace("-", ""))}


def stem(word: str) -> str:
    """Cuts endings more boldly than a linker does: two words too many alike only keep a concept too many."""
    return word if word in _STOP_WORDS else _ENDING.sub("", _BRITISH.sub("e", word))


def with_ancestors(seeds: set[str], relations: list[Row]) -> set[str]:
    """Adds all is_a ancestors. MRREL is read from right to left: a `CHD` / `isa` row says that CUI2 is_a CUI1."""
    parents: dict[str, set[str]] = defaultdict(set)
    for row in relations:
        if (row[3], row[7]) == ("CHD", "isa"):
            parents[row[4]].add(row[0])
    found, open_ends = set(seeds), list(seeds)
    while open_ends:
        new = parents[open_ends.pop()] - found
        found |= new
        open_ends.extend(new)
    return found


def read_rrf(directory: Path, table: str) -> list[Row]:
    paths = [path for path in (directory / f"{table}.RRF", directory / f"{table}.RRF.gz") if path.is_file()]
    if not paths:
        raise BadInput(f"no {table}.RRF or {table}.RRF.gz in {directory}; give the folder of the open vocabulary")
    opened = gzip.open if paths[0].suffix == ".gz" else open
    try:
        with opened(paths[0], "rt", encoding="utf-8", newline="\n") as lines:
            rows = [line.rstrip("\n").split("|") for line in lines]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadInput(f"{paths[0]} can't be read: {error}") from error
    for number, row in enumerate(rows, 1):
        if len(row) != COLUMNS[table] + 1 or row[-1]:
            raise BadInput(f"{paths[0]}, line {number}: {COLUMNS[table]} columns and a pipe at the end expected")
    return [row[:-1] for row in rows]


def write_rrf(directory: Path, table: str, rows: list[Row]) -> None:
    text = "".join("|".join(row) + "|\n" for row in rows)
    (directory / f"{table}.RRF.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{table}: {len(rows)} rows")


def read_pictures(path: Path) -> list[Picture]:
    if not path.is_file():
        raise BadInput(f"no {path}; give the folder that holds metadata.csv and images/")
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            pictures = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} can't be read: {error}") from error
    needed = {"id", "licence_class", *FIELDS} - {"image_id"}
    if missing := needed - set(pictures[0] if pictures else ()):
        raise BadInput(f"{path} has no column {', '.join(sorted(missing))}")
    return pictures


def cuis_of(picture: Picture) -> list[str]:
    return [cui for cui in picture["cuis"].split(";") if cui]


def cut_pictures(radiology_dir: Path, pictures: list[Picture], out_dir: Path) -> None:
    """Writes the pictures and their metadata.csv; pictures of an earlier cut are removed."""
    images = out_dir / "images"
    images.mkdir(parents=True, exist_ok=True)
    for old in images.glob("*.jpg"):
        old.unlink()
    with (out_dir / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, FIELDS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for picture in pictures:
            name = f"images/{picture['id']}.jpg"
            shrink(radiology_dir / picture["file"], out_dir / name)
            table.writerow(picture | {"image_id": picture["id"], "file": name, "cuis": " ".join(cuis_of(picture))})
    print(f"{out_dir.name}: {len(pictures)} pictures, {sum(path.stat().st_size for path in images.iterdir()) / 1e6:.1f} MB")


def shrink(source: Path, target: Path) -> None:
    """Writes a JPEG whose longest side is at most `LONGEST_SIDE`; a grey picture stays grey, a small one keeps its size."""
    try:
        with Image.open(source) as image:
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=None)
            image.save(target, "JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)
    except OSError as error:
        raise BadInput(f"{source} can't be read as a picture: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
