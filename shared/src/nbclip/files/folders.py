"""Folders of ROCO and ROCOv2, as they are distributed.

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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nbclip.errors import InvalidInput
from nbclip.files.companions import Companion, read_companion
from nbclip.files.delimited import read_roco, read_table
from nbclip.files.layout import Layout
from nbclip.files.lines import TextFile
from nbclip.files.rows import Row, Values
from nbclip.files.shards import SPLITS

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


@dataclass(frozen=True, slots=True)
class RocoPart:
    """One split of ROCO or ROCOv2.

    Attributes:
        captions: the file of captions.
        companions: files of CUIs, the manual ones last.
        images: names of the folder of images, of which one is there.
        split: its name; None if the folder says none.
        version: 1 or 2.
    """

    captions: Path
    companions: tuple[Path, ...]
    images: tuple[str, ...]
    split: str | None
    version: int


def roco_parts(folder: Path) -> list[RocoPart]:
    """The splits of a folder of either kind; none if it is another folder."""
    first = [folder] if (folder / "captions.txt").is_file() else sorted(folder.glob("*/radiology/captions.txt"))
    if first:
        return [_version_1(part if part.is_dir() else part.parent) for part in first]
    return [_version_2(folder, name) for name in SPLITS if (folder / f"{name}_captions.csv").is_file()]


def read_part(part: RocoPart, layout: Layout) -> Iterator[Row]:
    """The rows of one split; bad rows of its companions first.

    Raises:
        InvalidInput: the header lacks a column, or images are wanted and there is no folder of them.
    """
    images = _first_folder(part.captions.parent, part.images) if "file" in layout.fields else None
    companions = [read_companion(path) for path in part.companions]
    for companion in companions:
        yield from companion.bad
    plain = replace(layout, fields=("image_id", "caption"), required=("image_id", "caption"), columns={}, extras=False)
    with TextFile(part.captions) as source:
        name, lines = str(part.captions), iter(source)
        for row in read_roco(name, lines) if part.version == 1 else read_table(name, lines, plain, ","):
            yield row if row.problem else row._replace(values=_values(part, row.values, images, companions))


def _version_1(folder: Path) -> RocoPart:
    companions = tuple(path for path in (folder / "cuis.txt",) if path.is_file())
    return RocoPart(folder / "captions.txt", companions, ("images",), SPLITS.get(folder.absolute().parent.name), 1)


def _version_2(folder: Path, name: str) -> RocoPart:
    companions = tuple(folder / f"{name}_{kind}.csv" for kind in ("concepts", "concepts_manual"))
    images = (f"{name}_images/{name}", f"{name}_images", name)
    return RocoPart(folder / f"{name}_captions.csv", tuple(filter(Path.is_file, companions)), images, SPLITS[name], 2)


def _values(part: RocoPart, values: Values, images: Path | None, companions: Sequence[Companion]) -> Values:
    image_id, caption = values["image_id"], values["caption"]
    known = [companion.cuis[image_id] for companion in companions if image_id in companion.cuis]
    cuis = list(dict.fromkeys(cui for each in known for cui in each)) if known else None
    # Tabs and runs of spaces are what is left of the articles' layout.
    found: Values = {
        "image_id": image_id,
        "caption": " ".join(caption.split()) if caption and part.version == 1 else caption,
        "split": part.split,
        "cuis": cuis,
    }
    if images is not None:
        found["file"] = str(images / f"{image_id}.jpg") if image_id else None
    if part.version == 2:
        manual = [cui for companion in companions if "manual" in companion.path.name for cui in companion.cuis.get(image_id, ())]
        modality, organ = (_one(manual, classes) for classes in (MODALITIES, ORGANS))
        found |= {
            "modality": modality,
            "organ": organ,
            "modality_organ": f"{modality}-{organ}" if modality and organ else None,
        }
    return found


def _one(cuis: Sequence[str], classes: Mapping[str, str]) -> str | None:
    """The class that the concepts name, if it is one."""
    named = {classes[cui] for cui in cuis if cui in classes}
    return named.pop() if len(named) == 1 else None


def _first_folder(folder: Path, names: Sequence[str]) -> Path:
    found = next((folder / name for name in names if (folder / name).is_dir()), None)
    if found is None:
        raise InvalidInput(f"{folder}: no folder of images: {', '.join(names)}", hint="unpack the images there, or link them")
    return found.absolute()
