"""The labelled images that a run is scored on, and the texts that stand for classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import FrameDataset
from nbclip_trainer.data.labels import CLASS_TASKS, LABELS
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.data.settings import DataSettings

_DETAILS = ("caption_source", "source", "licence", "attribution", "group", "cuis", *CLASS_TASKS)
_MODALITY_TEXTS = {
    "XR": "X-ray",
    "CT": "CT",
    "MR": "MRI",
    "US": "ultrasound",
    "AN": "angiogram",
    "MG": "mammogram",
    "FL": "fluoroscopy",
    "NM": "nuclear medicine scan",
}
_ORGAN_TEXTS = {
    "face_neck": "face and neck",
    "vascular": "blood vessels",
    "genitourinary": "genitourinary system",
    "musculoskeletal": "bones and joints",
}


@dataclass(frozen=True, slots=True)
class ScoredImages:
    """All images that a protocol needs, in the order of their files.

    Attributes:
        frame: the columns of `Dataset.frame`, and, null where the files lack them, `caption_source`, `source`, `licence`,
            `attribution`, `group`, `cuis` and the class columns.
        case: code of each image's case (`group`; an image without one is its own case), int64.
        cuis: the gold CUIs of each image.
        class_rows: rows of the class tasks.
        cui_rows: rows of the CUI task: those with gold CUIs.
        without_cuis: images of the CUI splits left out because they have none.
    """

    frame: pl.DataFrame
    case: npt.NDArray[np.int64]
    cuis: tuple[frozenset[str], ...]
    class_rows: npt.NDArray[np.int64]
    cui_rows: npt.NDArray[np.int64]
    without_cuis: int

    @property
    def files(self) -> list[Path]:
        """Absolute paths of the images."""
        return FrameDataset(self.frame).files


def read_images(
    data: Sequence[Path], class_split: str, cui_splits: Sequence[str], *, reading: DataSettings | None = None
) -> ScoredImages:
    """Reads the images of the splits; those of a CUI split that have no CUIs and no class task are left out.

    Args:
        data: files or folders, or an index.
        class_split: the split of P@K.
        cui_splits: the splits of CUI@K.
        reading: how they are read.

    Raises:
        InvalidInput: the class split is missing or empty, or has neither a class column nor CUIs.
    """
    dataset = open_dataset((reading or DataSettings()).model_copy(update={"files": tuple(data)}))
    dataset.warn_of_bad_rows()
    splits = pl.col("split")
    if class_split not in dataset.splits():
        found = ", ".join(sorted(filter(None, dataset.splits()))) or "none"
        raise InvalidInput(f"no row of split {class_split!r} in {_names(data)}", hint=f"splits there are: {found}")
    whole = dataset.frame_of({class_split, *cui_splits})
    absent = [name for name in _DETAILS if name not in whole.columns]
    frame = whole.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    in_cui_split, has_cuis = splits.is_in(list(cui_splits)), pl.col("cuis").is_not_null()
    without_cuis = frame.filter(in_cui_split & ~has_cuis).height
    frame = frame.filter((splits == class_split) | (in_cui_split & has_cuis))
    if all(frame[name].is_null().all() for name in LABELS):
        raise InvalidInput(
            f"{_names(data)}: split {class_split!r} has no labels to score",
            hint=f"fill at least one of the columns {', '.join(LABELS)}, or name another: --set data.columns.modality=COLUMN",
        )
    return ScoredImages(
        frame=frame,
        case=codes(frame["group"].fill_null(pl.lit("picture ") + frame["image_id"]).to_list()),
        cuis=tuple(frozenset(filter(None, re.split(r"[\s;|,]+", cuis or ""))) for cuis in frame["cuis"]),
        class_rows=frame.select((splits == class_split).arg_true()).to_series().to_numpy().astype(np.int64),
        cui_rows=frame.select((in_cui_split & has_cuis).arg_true()).to_series().to_numpy().astype(np.int64),
        without_cuis=without_cuis,
    )


def codes(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Equal names to equal integers from 0, int64."""
    return np.asarray(np.unique(np.asarray(names, dtype=str), return_inverse=True)[1], np.int64)


def class_sizes(images: ScoredImages, task: str) -> Counter[str]:
    """How many images of the class split each class of a task has; unlabelled ones don't count."""
    return Counter(images.frame[task][images.class_rows].drop_nulls().to_list())


def class_text(task: str, name: str) -> str:
    """The words that stand for a class as a text query: `MR-face_neck` is "MRI of the face and neck".

    A name that is none of the known codes stands for itself, `_` as a space.
    """
    if task == "modality":
        return _MODALITY_TEXTS.get(name, name.replace("_", " "))
    if task == "organ":
        return _ORGAN_TEXTS.get(name, name.replace("_", " "))
    modality, separator, organ = name.partition("-")
    return f"{class_text('modality', modality)} of the {class_text('organ', organ)}" if separator else name.replace("_", " ")


def _names(data: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in data)
