"""Cuts the tiny example that `nbclip example` writes out of the example data: what is CC0 of it.

    python examples/tiny.py examples trainer/src/nbclip_trainer/example/tiny.zip

The pictures are those of VQA-RAD. The vocabulary has the concepts that their captions name, and the ancestors of these, by the
names and is_a edges of the CC0 sources alone, with semantic types that no other source states.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cut import FIELDS, Picture, Row, named_concepts, read_rrf, with_ancestors

LICENCE = "CC0 1.0"
SOURCES = frozenset({"DOID", "MEDMENTIONS", "SYMP"})
STATED_BY_NCI = "AT1"
"""How the ATUI of a semantic type begins that the NCI Thesaurus states, which is not CC0."""
RELEASE = "open-umls-tiny-1"
README = """\
# Tiny example

{pictures} radiology images with captions, and an open vocabulary of {concepts} concepts, to see NB-CLIP run. They are too few to
say anything about a method. Not for clinical use.

All of it is [CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/).

- `metadata.csv`, `images/`: VQA-RAD (Lau J. J. et al. 2018, *A dataset of clinically generated visual questions and answers
  about radiology images*, Scientific Data, doi:10.1038/sdata.2018.251; images: MedPix, U.S. National Library of Medicine).
  Pictures are scaled down to at most 128 pixels a side; captions are built from the answers to questions.
- `vocabulary/`: names and is_a edges of MedMentions, the Human Disease Ontology and the Symptom Ontology, in the file layout of
  a UMLS release. No row comes from a UMLS release. Names of semantic types: the public table of the UMLS Semantic Network.

NB-CLIP's repository has a larger example under other open licences in its folder `examples/`, with the sources of this one.
"""


def main(examples: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    pack(tiny(examples), archive)


def pack(files: dict[str, bytes], archive: Path) -> None:
    """Writes the archive, of the same bytes for the same files (and the same zlib)."""
    with zipfile.ZipFile(archive, "w") as written:
        for name, content in sorted(files.items()):
            kind = zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED
            written.writestr(zipfile.ZipInfo(name), content, kind, 9)
    print(f"{archive}: {len(files)} files, {archive.stat().st_size} bytes")


def tiny(examples: Path) -> dict[str, bytes]:
    """The example's files, by their names."""
    with (examples / "radiology-open" / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        pictures = [row for row in csv.DictReader(lines) if row["licence"] == LICENCE]
    vocabulary = cut_vocabulary(examples / "vocabulary", pictures)
    concepts = {row[0] for row in vocabulary["MRCONSO"]}
    return {
        "README.md": README.format(pictures=len(pictures), concepts=len(concepts)).encode(),
        "metadata.csv": table(pictures),
        **{row["file"]: (examples / "radiology-open" / row["file"]).read_bytes() for row in pictures},
        **{f"vocabulary/{name}.RRF": as_rrf(rows) for name, rows in vocabulary.items()},
        "vocabulary/release.dat": f"umls.release.name={RELEASE}\n".encode(),
    }


def cut_vocabulary(folder: Path, pictures: list[Picture]) -> dict[str, list[Row]]:
    """The rows of each table for concepts that the captions name, and all is_a ancestors of these."""
    types = [row for row in read_rrf(folder, "MRSTY") if not row[4].startswith(STATED_BY_NCI)]
    typed = {row[0] for row in types}
    names = [row for row in read_rrf(folder, "MRCONSO") if row[11] in SOURCES and row[0] in typed]
    known = {row[0] for row in names}
    atoms = {row[7] for row in names}
    relations = [
        row for row in read_rrf(folder, "MRREL") if row[10] in SOURCES and {row[0], row[4]} <= known and {row[1], row[5]} <= atoms
    ]
    kept = with_ancestors(named_concepts(names, (picture["caption"] for picture in pictures)), relations)
    return {
        "MRCONSO": [row for row in names if row[0] in kept],
        "MRREL": [row for row in relations if {row[0], row[4]} <= kept],
        "MRSTY": [row for row in types if row[0] in kept],
    }


def as_rrf(rows: list[Row]) -> bytes:
    return "".join("|".join(row) + "|\n" for row in rows).encode()


def table(pictures: list[Picture]) -> bytes:
    """A metadata.csv of these pictures."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(pictures)
    return text.getvalue().encode()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
