"""A snapshot's image vectors in a file as a source of similarities: training without a service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from nbclip.codec import map_tensors
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.vectors import Csr, VectorBatch, take_vectors

from nbclip_trainer.targets.lookup import IdTable
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.source import Coverage

_HINT = "write it with: kg-service snapshot embeddings FILE"
_NAMED_AT_MOST = 20
_AT_ONCE = 262_144
"""Images that are looked up together."""
_TENSORS = ("id_bytes", "id_offsets", "sparse_indptr", "sparse_indices", "sparse_data", "dense")


class SnapshotSource:
    """Similarities from a file of `kg-service snapshot embeddings`, or of `GET /v1/snapshots/{id}/embeddings`.

    Attributes:
        snapshot: id of the snapshot.
        split: of which split it was published; None: of all, or the file, one of 0.1.0, does not say.
    """

    def __init__(self, path: Path, targets: TargetSettings) -> None:
        try:
            arrays, self._metadata = map_tensors(path)
            text, offsets, *sparse, self._dense = (arrays[name] for name in _TENSORS)
            self._columns, self.snapshot = int(self._metadata.pop("columns")), self._metadata["snapshot"]
        except (OSError, InvalidInput, KeyError, ValueError) as error:
            raise InvalidInput(f"targets.file={path}: no image vectors of a snapshot: {error}", hint=_HINT) from error
        self.split = self._metadata.get("split")
        _refuse_other(path, self._metadata, targets)
        self._ids = IdTable(text, offsets)
        self._sparse = cast(Csr, tuple(sparse))

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> VectorBatch:
        """See `TargetSource`.

        Raises:
            UnknownImages: the snapshot lacks some of them.
        """
        rows_C = self._ids.rows(column_ids)
        unknown = [image_id for image_id, row in zip(column_ids, rows_C, strict=True) if row < 0]
        if unknown:
            named = ", ".join(unknown[:_NAMED_AT_MOST])
            raise UnknownImages(f"{len(unknown)} images are not in targets.file: {named}", hint=_HINT)
        return take_vectors(self._sparse, self._dense, self._columns, rows_C, self._metadata)

    def coverage(self, image_ids: Sequence[str]) -> Coverage:
        """Looks all images up."""
        unknown: list[str] = []
        without = 0
        for start in range(0, len(image_ids), _AT_ONCE):
            ids = image_ids[start : start + _AT_ONCE]
            rows = self._ids.rows(ids)
            unknown += [ids[place] for place in np.flatnonzero(rows < 0).tolist()]
            without += self._without_knowledge(rows[rows >= 0])
        return Coverage(unknown, without / max(len(image_ids) - len(unknown), 1))

    def close(self) -> None:
        """Holds no connection."""

    def _without_knowledge(self, rows: npt.NDArray[np.int64]) -> int:
        """How many of these rows have no vector, or one of zeros; dense parts, which are most of the file, only where it must."""
        indptr = self._sparse[0]
        bare = rows[indptr[rows + 1] == indptr[rows]]
        return int(np.count_nonzero(~self._dense[bare].any(axis=1)))


def settings_of_file(path: Path) -> dict[str, Any]:
    """The settings of `targets` that take a file for what it is; raises InvalidInput where it has no vectors of a snapshot."""
    try:
        _, found = map_tensors(path)
        own = {"knowledge": found["knowledge"], "representation": found["representation"]}
    except (OSError, InvalidInput, KeyError) as error:
        raise InvalidInput(f"{path}: no image vectors of a snapshot: {error}", hint=_HINT) from error
    return {"mode": "snapshot", "file": str(path), **own}


def _refuse_other(path: Path, found: dict[str, str], targets: TargetSettings) -> None:
    """What the file was made from must be what the settings say, and what a resumed run began with."""
    for name, wanted in (
        ("snapshot", targets.snapshot),
        ("knowledge", targets.knowledge),
        ("representation", targets.representation),
    ):
        if wanted is not None and found.get(name) != wanted:
            raise InvalidInput(f"targets.file={path} has {name} {found.get(name)}, not {wanted}", hint=_HINT)
