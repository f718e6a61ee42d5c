"""The images that a run is scored on, and the texts that stand for classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import InvalidInput
from nbclip.files.addresses import Location

from nbclip_trainer.data.dataset import FrameDataset
from nbclip_trainer.data.filtering import Where, with_values
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.evaluation.linking import LinkedCuis
from nbclip_trainer.targets.rows import caption_keys

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
        caption_key: `caption_keys` of the captions, int64: equal for equal captions.
        case: code of each image's case (`group`; an image without one is its own case), int64.
        cuis: the gold CUIs of each image.
        class_rows: rows of the class tasks and of the pairs.
        cui_rows: rows of the CUI task: those with gold CUIs.
        without_cuis: images of the CUI splits left out because they have none.
        linked: what a linker found in the caption of each image; None where none was asked.
    """

    frame: pl.DataFrame
    caption_key: npt.NDArray[np.int64]
    case: npt.NDArray[np.int64]
    cuis: tuple[frozenset[str], ...]
    class_rows: npt.NDArray[np.int64]
    cui_rows: npt.NDArray[np.int64]
    without_cuis: int
    linked: LinkedCuis | None = None

    @property
    def linked_rows(self) -> npt.NDArray[np.int64]:
        """Rows of the class split in whose captions a linker found concepts."""
        return np.array([row for row in self.class_rows if self.linked and self.linked.cuis[row]], np.int64)

    @property
    def every_cui(self) -> set[str]:
        """All gold and all linked CUIs."""
        return {cui for cuis in (*self.cuis, *(self.linked.cuis if self.linked else ())) for cui in cuis}

    @property
    def files(self) -> list[Location]:
        """Absolute paths of the images."""
        return FrameDataset(self.frame).files


def read_images(
    data: Sequence[Location],
    class_split: str,
    cui_splits: Sequence[str],
    *,
    reading: DataSettings | None = None,
    where: Where | None = None,
) -> ScoredImages:
    """Reads the images of the splits; those of a CUI split that have no CUIs and no class task are left out.

    Args:
        data: files or folders, or an index.
        class_split: the split of P@K.
        cui_splits: the splits of CUI@K.
        reading: how they are read.
        where: only those with one of these values in each column.

    Raises:
        InvalidInput: the class split is missing or empty, or no image has such a value.
    """
    dataset = open_dataset((reading or DataSettings()).model_copy(update={"files": tuple(data)}))
    dataset.warn_of_bad_rows()
    splits = pl.col("split")
    if class_split not in dataset.splits():
        found = ", ".join(sorted(filter(None, dataset.splits()))) or "none"
        raise InvalidInput(f"no row of split {class_split!r} in {_names(data)}", hint=f"splits there are: {found}")
    whole = dataset.frame_of({class_split, *cui_splits})
    whole = whole.filter(with_values(whole, where or {}, "where"))
    return scored_images(whole, splits == class_split, splits.is_in(list(cui_splits)))


def scored_images(whole: pl.DataFrame, in_class_split: pl.Expr, in_cui_split: pl.Expr) -> ScoredImages:
    """The images of `Dataset.frame` that stand in the class split, or in the CUI split and have CUIs."""
    absent = [name for name in _DETAILS if name not in whole.columns]
    frame = whole.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    has_cuis = pl.col("cuis").is_not_null()
    without_cuis = frame.filter(in_cui_split & ~has_cuis).height
    frame = frame.filter(in_class_split | (in_cui_split & has_cuis))
    return ScoredImages(
        frame=frame,
        caption_key=caption_keys(frame["caption"].to_list()).numpy(),
        case=codes(frame["group"].fill_null(pl.lit("picture ") + frame["image_id"]).to_list()),
        cuis=tuple(frozenset(filter(None, re.split(r"[\s;|,]+", cuis or ""))) for cuis in frame["cuis"]),
        class_rows=_rows(frame, in_class_split),
        cui_rows=_rows(frame, in_cui_split & has_cuis),
        without_cuis=without_cuis,
    )


def _rows(frame: pl.DataFrame, chosen: pl.Expr) -> npt.NDArray[np.int64]:
    return frame.select(chosen.arg_true()).to_series().to_numpy().astype(np.int64)


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


def _names(data: Sequence[Location]) -> str:
    return ", ".join(str(path) for path in data)
