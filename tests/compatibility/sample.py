"""The sample that every version's fixtures are made of: captions and pictures of `examples/radiology-open`, and of
`examples/vocabulary` the concepts that these captions name, with everything above them."""

from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

EFFUSIONS_AND_EMBOLI = ("RM_00063", "RM_00105", "RM_00190", "RM_00466")
"""Training images of a dataset of their own."""
OTHERS = (
    "RM_00005", "RM_00031", "RM_00034", "RM_00051", "RM_00071",
    "RM_00109", "RM_00184", "RM_00360", "RM_00680", "RM_01059",
)  # fmt: skip
"""Further training images of the published snapshot."""
APPENDED = (("RM_00720", "RM_00822"), ("RM_00508",))
"""Training images that come later: a segment of two, and one of one beside it."""
SCORED = ("RM_05054", "RM_04997", "RM_05661", "RM_05715", "RM_05753", "RM_05770")
"""Images of the splits valid and retrieval."""
IN_JOBS = {"done": ("RM_05018",), "cancelled": ("RM_05141",), "waiting": ("RM_05041", "RM_05138")}
"""Images of the split valid that come by bulk ingests."""
TRAINING = (*EFFUSIONS_AND_EMBOLI, *OTHERS, *(image_id for ids in APPENDED for image_id in ids))
"""All training images."""
PARTS = {
    "few": EFFUSIONS_AND_EMBOLI,
    "others": (*OTHERS, *SCORED),
    **{f"appended-{number}": ids for number, ids in enumerate(APPENDED, 1)},
    **IN_JOBS,
}
"""Images of each table of captions."""
LABELLED = [
    {"caption": f"{begun} PE.", "spans": [[len(begun) + 1, len(begun) + 3, ["C0034065"]]]}
    for what in ("CT", "CT image", "CT scan")
    for begun in (f"{what} of the chest with", f"{what} of the chest showing", f"{what} of the chest and")
]
"""Captions that teach a prior what PE is."""

_SHORTEST_NAME = 3
_CAPTIONS = ("image_id", "caption", "split")
_Row = list[str]


def cut_sample(folder: Path) -> None:
    """Writes the sample to a new folder: RRF files, `metadata.csv` with its pictures, parts of it, and a micro model."""
    pictures = [*TRAINING, *SCORED]
    in_jobs = [image_id for ids in IN_JOBS.values() for image_id in ids]
    rows = {row["image_id"]: row for row in _metadata()}
    (folder / "images").mkdir(parents=True)
    _write_csv(folder / "metadata.csv", [rows[image_id] for image_id in pictures])
    for image_id in pictures:
        shutil.copy(EXAMPLES / "radiology-open" / rows[image_id]["file"], folder / "images")
    for name, ids in PARTS.items():
        _write_csv(folder / f"{name}.csv", [{column: rows[image_id][column] for column in _CAPTIONS} for image_id in ids])
    (folder / "labelled.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in LABELLED))
    _cut_vocabulary(folder / "rrf", [rows[image_id]["caption"] for image_id in (*TRAINING, *in_jobs)])
    _write_model(folder / "model")


def _metadata() -> list[dict[str, str]]:
    with (EXAMPLES / "radiology-open" / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _cut_vocabulary(folder: Path, captions: Iterable[str]) -> None:
    """Concepts with a name that a caption has word by word, and their ancestors; of each its preferred name and those names."""
    text = f" {_words(' | '.join(captions))} "
    names = _read_rrf("MRCONSO")
    named = [row for row in names if len(row[14]) >= _SHORTEST_NAME and f" {_words(row[14])} " in text]
    kept = _with_ancestors({row[0] for row in named})
    first = {row[0]: row for row in sorted(names, key=_is_preferred)}
    chosen = {id(row) for row in (*named, *first.values())}
    folder.mkdir()
    _write_rrf(folder, "MRCONSO", (row for row in names if row[0] in kept and id(row) in chosen))
    _write_rrf(folder, "MRREL", (row for row in _read_rrf("MRREL") if row[0] in kept and row[4] in kept and row[3] == "CHD"))
    _write_rrf(folder, "MRSTY", (row for row in _read_rrf("MRSTY") if row[0] in kept))
    shutil.copy(EXAMPLES / "vocabulary" / "release.dat", folder)


def _is_preferred(row: _Row) -> bool:
    """The last of a concept's rows in this order is its preferred one."""
    return (row[2], row[4], row[6], row[16]) == ("P", "PF", "Y", "N")


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _with_ancestors(cuis: set[str]) -> set[str]:
    parents = defaultdict(set)
    for row in _read_rrf("MRREL"):
        if row[3] == "CHD":
            parents[row[4]].add(row[0])
    kept, ends = set(cuis), list(cuis)
    while ends:
        new = parents[ends.pop()] - kept
        kept |= new
        ends.extend(new)
    return kept


def _read_rrf(table: str) -> list[_Row]:
    with gzip.open(EXAMPLES / "vocabulary" / f"{table}.RRF.gz", "rt", encoding="utf-8", newline="\n") as lines:
        return [line.rstrip("\n").split("|") for line in lines]


def _write_rrf(folder: Path, table: str, rows: Iterator[_Row]) -> None:
    (folder / f"{table}.RRF").write_text("".join("|".join(row) + "\n" for row in rows), encoding="utf-8")


def _write_model(folder: Path) -> None:
    """An open_clip model of letters and four dimensions. Its vocabulary has no pairs of letters, or it alone would be 600 kB."""
    folder.mkdir()
    (folder / "letters.txt.gz").write_bytes(gzip.compress(b"#version: letters alone", mtime=0))
    text = {"context_length": 24, "vocab_size": 514, "width": 4, "heads": 2, "layers": 1}
    model = {
        "embed_dim": 4,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 8, "head_width": 4, "patch_size": 4},
        "text_cfg": {**text, "tokenizer_kwargs": {"bpe_path": f"input/{folder.name}/letters.txt.gz"}},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}, indent=1) + "\n")
    settings = {
        "extends": "tiny-nbclip",
        "epochs": 4,
        "batch_size": 4,
        "model": {"name": f"local-dir:input/{folder.name}", "architecture": None, "resize": "squash"},
        "targets": {"mode": "snapshot", "file": "vectors.safetensors"},
        "checkpoint": {"keep": 4},
        "device": {"name": "cpu", "threads": 1},
    }
    (folder / "micro.yaml").write_text(json.dumps(settings, indent=1) + "\n")
