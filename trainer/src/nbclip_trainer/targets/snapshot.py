"""A snapshot's image vectors in a file as a source of similarities: training without a service."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.vectors import VectorBatch, take_vectors
from safetensors import SafetensorError, safe_open

from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.source import Coverage

_HINT = "write it with: kg-service snapshot embeddings FILE"
_NAMED_AT_MOST = 20
_TENSORS = ("sparse_indptr", "sparse_indices", "sparse_data", "dense", "id_bytes", "id_offsets")


class SnapshotSource:
    """Similarities from a file of `kg-service snapshot embeddings`, or of `GET /v1/snapshots/{id}/embeddings`.

    Attributes:
        snapshot: id of the snapshot.
        split: of which split it was published; None: of all, or the file, one of 0.1.0, does not say.
    """

    def __init__(self, path: Path, targets: TargetSettings) -> None:
        try:
            with safe_open(path, framework="numpy") as file:
                self._metadata = dict(file.metadata() or {})
                arrays = {name: file.get_tensor(name) for name in _TENSORS}
            self._columns, self.snapshot = int(self._metadata.pop("columns")), self._metadata["snapshot"]
            self.split = self._metadata.get("split")
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InvalidInput(f"targets.file={path}: no image vectors of a snapshot: {error}", hint=_HINT) from error
        _refuse_other(path, self._metadata, targets)
        text, offsets = arrays["id_bytes"].tobytes(), arrays["id_offsets"].tolist()
        self._row_of = {text[start:end].decode(): row for row, (start, end) in enumerate(pairwise(offsets))}
        self._sparse = arrays["sparse_indptr"], arrays["sparse_indices"], arrays["sparse_data"]
        self._dense = arrays["dense"]

    def fetch(self, row_ids: Sequence[str], column_ids: Sequence[str]) -> VectorBatch:
        """See `TargetSource`.

        Raises:
            UnknownImages: the snapshot lacks some of them.
        """
        rows_C = self._rows(column_ids)
        unknown = [image_id for image_id, row in zip(column_ids, rows_C, strict=True) if row < 0]
        if unknown:
            named = ", ".join(unknown[:_NAMED_AT_MOST])
            raise UnknownImages(f"{len(unknown)} images are not in targets.file: {named}", hint=_HINT)
        return self._take(rows_C)

    def coverage(self, image_ids: Sequence[str]) -> Coverage:
        """Looks all images up."""
        rows = self._rows(image_ids)
        unknown = [image_id for image_id, row in zip(image_ids, rows, strict=True) if row < 0]
        held = self._take(rows[rows >= 0])
        return Coverage(unknown, 1 - float(held.has_knowledge.mean()) if len(held) else 0.0)

    def close(self) -> None:
        """Holds no connection."""

    def _rows(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.fromiter((self._row_of.get(image_id, -1) for image_id in image_ids), np.int64, len(image_ids))

    def _take(self, rows_C: npt.NDArray[np.int64]) -> VectorBatch:
        return take_vectors(self._sparse, self._dense, self._columns, rows_C, self._metadata)


def settings_of_file(path: Path) -> dict[str, Any]:
    """The settings of `targets` that take a file for what it is; raises InvalidInput where it has no vectors of a snapshot."""
    try:
        with safe_open(path, framework="numpy") as file:
            found = dict(file.metadata() or {})
        own = {"knowledge": found["knowledge"], "representation": found["representation"]}
    except (OSError, SafetensorError, KeyError) as error:
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
