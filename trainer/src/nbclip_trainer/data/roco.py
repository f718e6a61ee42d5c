"""Pairs from the folders of ROCO and ROCOv2, as they are distributed.

ROCO (github.com/razorx89/roco-dataset), the folder of one split and kind, or one above with `SPLIT/radiology` in it:

    captions.txt        ID<TAB>caption
    cuis.txt            ID<TAB>CUI<TAB>CUI…
    images/ID.jpg

ROCOv2 (doi:10.5281/zenodo.10821435), for SPLIT train, valid and test, whichever are there:

    SPLIT_captions.csv          ID, Caption
    SPLIT_concepts.csv          ID, CUIs joined by ;
    SPLIT_concepts_manual.csv   ID, CUIs of modality, and for X-rays of body region and direction
    SPLIT/ID.jpg                or SPLIT_images/SPLIT/ID.jpg, as the archives unpack

`modality` and `organ` follow from the manual concepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.tables import SPLITS, Values

MODALITIES = {
    "C1306645": "XR",
    "C0040405": "CT",
    "C0024485": "MR",
    "C0041618": "US",
    "C0002978": "AN",
    "C0032743": "PET",
    "C1699633": "PET_CT",
}
ORGANS = {
    "C0817096": "chest",
    "C0000726": "abdomen",
    "C0030797": "pelvis",
    "C0037303": "skull",
    "C0037949": "spine",
    "C1140618": "upper_extremity",
    "C0023216": "lower_extremity",
    "C0006141": "breast",
}


def read_roco(folder: Path) -> Iterator[tuple[Path, int, Values]]:
    """File, line and values of each pair of a folder of either kind.

    Raises:
        InvalidInput: the folder is of neither kind, or images or lines of it are missing.
    """
    parts = [folder] if (folder / "captions.txt").is_file() else sorted(folder.glob("*/radiology/captions.txt"))
    tables = [name for name in SPLITS if (folder / f"{name}_captions.csv").is_file()]
    if parts:
        for part in parts:
            yield from _version_1(part if part.is_dir() else part.parent)
    elif tables:
        for name in tables:
            yield from _version_2(folder, name)
    else:
        raise InvalidInput(
            f"{folder}: neither ROCO (captions.txt, or SPLIT/radiology/captions.txt) nor ROCOv2 (SPLIT_captions.csv)",
            hint="name a CSV, TSV or Parquet file, or shards (.tar)",
        )


def _version_1(folder: Path) -> Iterator[tuple[Path, int, Values]]:
    path = folder / "captions.txt"
    split = SPLITS.get(folder.absolute().parent.name)
    cuis = dict(_fields(folder / "cuis.txt")) if (folder / "cuis.txt").is_file() else {}
    images = _first_folder(folder, "images")
    for line, (image_id, caption) in enumerate(_fields(path), 1):
        file = str(images / f"{image_id}.jpg")
        yield path, line, {"image_id": image_id, "file": file, "caption": caption, "split": split, "cuis": cuis.get(image_id)}


def _fields(path: Path) -> Iterator[tuple[str, str]]:
    """Id and the rest of each line that has any, tabs as spaces."""
    try:
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line.strip():
                image_id, _, rest = line.partition("\t")
                yield image_id.strip(), " ".join(rest.split())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 at byte {error.start}", hint="fetch the file again") from error


def _version_2(folder: Path, name: str) -> Iterator[tuple[Path, int, Values]]:
    path = folder / f"{name}_captions.csv"
    concepts, manual = (_concepts(folder / f"{name}_{kind}.csv") for kind in ("concepts", "concepts_manual"))
    images = _first_folder(folder, f"{name}_images/{name}", f"{name}_images", name)
    for number, (image_id, caption) in enumerate(_table(path, "ID", "Caption"), 2):
        cuis = concepts.get(image_id, "").split(";")
        by_hand = manual.get(image_id, "").split(";")
        modality, organ = (_one(by_hand, classes) for classes in (MODALITIES, ORGANS))
        yield path, number, {
            "image_id": image_id,
            "file": str(images / f"{image_id}.jpg"),
            "caption": caption,
            "split": SPLITS[name],
            "cuis": " ".join(dict.fromkeys(filter(None, (*cuis, *by_hand)))),
            "modality": modality,
            "organ": organ,
            "modality_organ": f"{modality}-{organ}" if modality and organ else None,
        }  # fmt: skip


def _concepts(path: Path) -> dict[str, str]:
    return dict(_table(path, "ID", "CUIs")) if path.is_file() else {}


def _table(path: Path, key: str, value: str) -> Iterator[tuple[str, str]]:
    try:
        frame = pl.read_csv(path, infer_schema=False).select(pl.col(key, value).fill_null(""))
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(
            f"{path}: {str(error).splitlines()[0]}", hint=f"a CSV file with the columns {key} and {value}"
        ) from error
    yield from frame.iter_rows()


def _one(cuis: list[str], classes: dict[str, str]) -> str | None:
    """The class that the concepts name, if it is one."""
    named = {classes[cui] for cui in cuis if cui in classes}
    return named.pop() if len(named) == 1 else None


def _first_folder(folder: Path, *names: str) -> Path:
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise InvalidInput(f"{folder}: no folder of images: {', '.join(names)}", hint="unpack the images there, or link them")
    return found.absolute()
