"""A snapshot's image vectors in a file as a source of similarities: training without a service."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.codec import map_tensors
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.vectors import Csr, VectorBatch, take_vectors

from nbclip_trainer.data.mapped import Hashes, arrays_of, hashes_of
from nbclip_trainer.targets.lookup import IdTable, in_order
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.targets.source import Coverage

_HINT = "write it with: kg-service snapshot embeddings FILE"
_NAMED_AT_MOST = 20
_AT_ONCE = 262_144
"""Images whose dense parts are in memory at once."""
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
        """Looks all images up, by the hashes of their ids; `fetch` compares the ids themselves."""
        hash_N = in_order(np.concatenate([np.zeros(0, np.uint64), *map(hashes_of, arrays_of(image_ids))]))
        absent = hash_N[~self._ids.has_hashes(hash_N)]
        unknown = _with_hashes(image_ids, absent) if len(absent) else []
        without = np.isin(hash_N, self._ids.hashes_of_rows(self._without_knowledge())).sum()
        return Coverage(unknown, int(without) / max(len(image_ids) - len(unknown), 1))

    def close(self) -> None:
        """Holds no connection."""

    def _without_knowledge(self) -> npt.NDArray[np.int64]:
        """The rows without a vector, or with one of zeros; dense parts, which are most of the file, are read where they must."""
        bare = np.flatnonzero(np.diff(self._sparse[0]) == 0)
        parts = (bare[start : start + _AT_ONCE] for start in range(0, len(bare), _AT_ONCE))
        return np.concatenate([bare[:0], *(rows[~self._dense[rows].any(axis=1)] for rows in parts)])


def _with_hashes(image_ids: Sequence[str], hashes: Hashes) -> list[str]:
    """Those ids that have one of some hashes, in their order."""
    return [
        image_id for ids in arrays_of(image_ids) for image_id in ids.filter(pa.array(np.isin(hashes_of(ids), hashes))).to_pylist()
    ]


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
