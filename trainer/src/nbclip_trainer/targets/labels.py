"""True labels as a source of similarities: the ceiling of what knowledge about classes could bring, and no knowledge graph.

    S_ij = share of the columns in which i and j have the same label; a cell without a label is like no other

Shape legend: R rows (one rank's images), C columns (the global batch), K columns of labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from nbclip.codec import TargetMatrix
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset

_BLANK = -1


class LabelSource:
    """Similarities of the labels of a dataset's images.

    Attributes:
        without_knowledge: share of the images that have a label in none of the columns.
    """

    def __init__(self, dataset: Dataset, columns: Sequence[str]) -> None:
        """Raises NotFound where the data have no such column, InvalidInput where no image has a label there."""
        code_KN = [_codes(dataset.labels(column), column) for column in columns]
        self._dataset, self._code_NK = dataset, np.stack(code_KN, axis=1)
        self.without_knowledge = float((self._code_NK == _BLANK).all(axis=1).mean())

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> TargetMatrix:
        """See `TargetSource`; a column has knowledge where it has a label."""
        row_of = self._dataset.rows_of(set(column_ids))
        code_RK, code_CK = (self._code_NK[[row_of[image_id] for image_id in ids]] for ids in (row_ids, column_ids))
        same_RCK = (code_RK[:, None] == code_CK[None]) & (code_RK[:, None] != _BLANK)
        own_RC = np.asarray(row_ids)[:, None] == np.asarray(column_ids)[None]
        similarity_RC = np.where(own_RC, 1, same_RCK.mean(axis=2)).astype(np.float32)
        known_C = (code_CK != _BLANK).any(axis=1)
        return TargetMatrix("similarity", similarity_RC, known_C, np.zeros_like(known_C), {})

    def close(self) -> None:
        """Holds no connection."""


def _codes(labels: Sequence[str | None], column: str) -> npt.NDArray[np.int32]:
    """A number for each label, the same for equal ones; -1 where there is none."""
    codes: dict[str | None, int] = {None: _BLANK}
    code_N = np.fromiter((codes.setdefault(label, len(codes)) for label in labels), np.int32, len(labels))
    if (code_N == _BLANK).all():
        raise InvalidInput(
            f"targets.labels: no training image has a label in the column {column}",
            hint="leave it out of targets.labels, or name another: --set data.columns.…=COLUMN",
        )
    return code_N
