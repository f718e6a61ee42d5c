"""The answer of `POST /targets`: from image ids to a matrix, with nothing but an opened snapshot.

Shape legend: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nbclip_shared.codec import TargetMatrix, write_tensors
from nbclip_shared.errors import InvalidInput, UnknownImages
from nbclip_shared.schemas import Knowledge, TargetsRequest
from nbclip_shared.targets import build_targets, duplicate_mask

from kg_service.similarity import similarity
from kg_service.snapshot.reader import Snapshot

_NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class _Batch:
    """The ids of one side of a batch: `codes` are equal where ids are, `positions` their rows in the snapshot or -1."""

    codes: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]

    def caption_keys(self, snapshot: Snapshot) -> npt.NDArray[np.int64]:
        return snapshot.images["caption_keys"][self.positions]


def answer_targets(snapshot: Snapshot, request: TargetsRequest) -> TargetMatrix:
    """Similarities or target rows of a batch.

    Images that the snapshot does not hold, or that have no usable CUI, are similar to themselves alone: their target row is
    one-hot, their column gets no neighbour's mass, and the matrix flags them.

    Raises:
        UnknownImages: with `on_unknown="error"`, naming up to 20 of them.
        InvalidInput: unknown variant, or a row that is not among the columns where targets are asked for.
    """
    rows, columns = _batches(snapshot, request)
    vectors = snapshot.vectors(request.representation, request.knowledge)
    row_vectors = vectors.take(rows.positions)
    column_vectors = row_vectors if columns is rows else vectors.take(columns.positions)
    same_RC = duplicate_mask(rows.codes, columns.codes)
    values_RC = similarity(row_vectors, column_vectors, same_RC)
    has_knowledge_C = column_vectors.has_knowledge()
    if request.output == "targets":
        known_RC = (rows.positions >= 0)[:, None] & (columns.positions >= 0)[None, :]
        same_caption_RC = known_RC & duplicate_mask(rows.caption_keys(snapshot), columns.caption_keys(snapshot))
        own_R = _own_columns(request, rows, columns)
        values_RC = build_targets(values_RC, own_R, has_knowledge_C, request.parameters(), duplicate_RC=same_RC | same_caption_RC)
    return TargetMatrix(
        output=request.output,
        values=values_RC,
        has_knowledge=has_knowledge_C,
        unknown=columns.positions < 0,
        metadata={
            "snapshot": snapshot.id,
            "knowledge": request.knowledge,
            "representation": request.representation,
            "parameters": request.parameters().model_dump_json(),
        },
    )


def embeddings_file(snapshot: Snapshot, knowledge: Knowledge, representation: str) -> bytes:
    """Image vectors as a safetensors file: `sparse_indptr`, `sparse_indices`, `sparse_data` (CSR), `dense`, and the image ids
    as UTF-8 `id_bytes` with `id_offsets`. S = [sparse, dense]·[sparse, dense]ᵀ."""
    vectors = snapshot.vectors(representation, knowledge)
    tensors = {
        "sparse_indptr": vectors.sparse.indptr,
        "sparse_indices": vectors.sparse.indices,
        "sparse_data": vectors.sparse.data,
        "dense": vectors.dense,
        "id_bytes": snapshot.images["id_bytes"],
        "id_offsets": snapshot.images["id_offsets"],
    }
    metadata = {"snapshot": snapshot.id, "knowledge": knowledge, "columns": str(vectors.sparse.shape[1])}
    return write_tensors(tensors, metadata)


def _batches(snapshot: Snapshot, request: TargetsRequest) -> tuple[_Batch, _Batch]:
    code = {image_id: index for index, image_id in enumerate(dict.fromkeys([*request.image_ids, *(request.column_ids or ())]))}

    def batch(image_ids: Sequence[str]) -> _Batch:
        return _Batch(np.array([code[image_id] for image_id in image_ids]), snapshot.positions(image_ids))

    rows = batch(request.image_ids)
    columns = rows if request.column_ids in (None, request.image_ids) else batch(request.column_ids or [])
    if request.on_unknown == "error":
        _refuse_unknown(request, rows, columns)
    return rows, columns


def _refuse_unknown(request: TargetsRequest, rows: _Batch, columns: _Batch) -> None:
    asked = [(request.image_ids, rows), (request.column_ids or [], columns)]
    unknown = {image_id for ids, batch in asked for image_id, row in zip(ids, batch.positions, strict=False) if row < 0}
    if unknown:
        named = ", ".join(sorted(unknown)[:_NAMED_AT_MOST])
        raise UnknownImages(
            f"{len(unknown)} images are not in the snapshot: {named}{', …' if len(unknown) > _NAMED_AT_MOST else ''}",
            hint="ingest them and publish, or ask with on_unknown 'flag'",
        )


def _own_columns(request: TargetsRequest, rows: _Batch, columns: _Batch) -> npt.NDArray[np.int64]:
    """The column of each row's own image, [R]."""
    if columns is rows:
        return np.arange(len(rows.codes))
    codes, first = np.unique(columns.codes, return_index=True)
    place = np.searchsorted(codes, rows.codes).clip(max=len(codes) - 1)
    missing = codes[place] != rows.codes
    if missing.any():
        example = request.image_ids[int(missing.argmax())]
        raise InvalidInput(
            f"image_ids holds {example!r}, which column_ids lacks",
            hint="a target row needs its own image among the columns; output 'similarity' does not",
        )
    own_R: npt.NDArray[np.int64] = first[place]
    return own_R
