"""Answers of `POST /targets` and `POST /representations`: image ids to a matrix or vectors, with an opened snapshot alone.

Shape legend: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from nbclip.codec import TargetMatrix, tensor_parts
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.schemas.targets import Knowledge, RepresentationsRequest, TargetParameters, TargetsRequest
from nbclip.vectors import VectorBatch

from kg_service.similarity.kernel import Rows, has_knowledge, similarity, take_rows, to_float16
from kg_service.similarity.target_rows import to_target_rows
from kg_service.snapshot.opened import Snapshot
from kg_service.snapshot.segment import join_vectors, joined_ids

_NAMED_AT_MOST = 20
_PARAMETERS = set(TargetParameters.model_fields)
_OR_FLAG = ", or ask with on_unknown 'flag'"


def answer_targets(snapshot: Snapshot, request: TargetsRequest) -> TargetMatrix:
    """Similarities or target rows of a batch.

    Images that the snapshot does not hold, or that have no usable CUI, are similar to themselves alone: their target row is
    one-hot, their column gets no neighbour's mass (in the paper's own form, softmax's share of a similarity of 0), and the
    matrix flags them.

    Raises:
        UnknownImages: with `on_unknown="error"`, naming up to 20 of them.
        InvalidInput: unknown variant, or a row that is not among the columns where targets are asked for.
    """
    rows_R, columns_C = _rows(snapshot, request)
    vectors = snapshot.vectors(request.representation, request.knowledge)
    values_RC = similarity(vectors, rows_R, columns_C)
    has_knowledge_C = has_knowledge(vectors, columns_C)
    if request.output == "targets":
        own_R = _own_columns(request, rows_R, columns_C)
        to_target_rows(values_RC, own_R, _caption_keys(snapshot, columns_C), has_knowledge_C, request)
    return TargetMatrix(
        output=request.output,
        values=to_float16(values_RC) if request.dtype == "float16" else values_RC,
        has_knowledge=has_knowledge_C,
        unknown=columns_C < 0,
        metadata={
            "snapshot": snapshot.id,
            "knowledge": request.knowledge,
            "representation": request.representation,
            "parameters": request.model_dump_json(include=_PARAMETERS),
        },
    )


def answer_representations(snapshot: Snapshot, request: RepresentationsRequest) -> VectorBatch:
    """Vectors of a batch, in order; zero where the image has no usable CUI or the snapshot does not hold it.

    Raises:
        UnknownImages: with `on_unknown="error"`, naming up to 20 of them.
        InvalidInput: unknown variant.
    """
    rows_C = snapshot.positions(request.image_ids)
    if request.on_unknown == "error" and (rows_C < 0).any():
        unknown = {request.image_ids[at] for at in np.flatnonzero(rows_C < 0).tolist()}
        raise unknown_images(unknown, _OR_FLAG)
    vectors = snapshot.vectors(request.representation, request.knowledge)
    metadata = {"snapshot": snapshot.id, "knowledge": request.knowledge, "representation": request.representation}
    columns = vectors.sparse.shape[1]
    return VectorBatch(*take_rows(vectors, rows_C), columns, has_knowledge(vectors, rows_C), rows_C < 0, metadata)


def embeddings_parts(snapshot: Snapshot, knowledge: Knowledge, representation: str) -> list[bytes | memoryview]:
    """Image vectors as the parts of a safetensors file, mapped memory uncopied: `sparse_indptr`, `sparse_indices`,
    `sparse_data` (CSR), `dense`, and the image ids as UTF-8 `id_bytes` with `id_offsets`.
    S = [sparse, dense]·[sparse, dense]ᵀ."""
    vectors = join_vectors(snapshot.vectors(representation, knowledge).tables())
    id_bytes, id_offsets = joined_ids(snapshot.segments)
    tensors = {
        "sparse_indptr": vectors.sparse.indptr,
        "sparse_indices": vectors.sparse.indices,
        "sparse_data": vectors.sparse.data,
        "dense": vectors.dense,
        "id_bytes": id_bytes,
        "id_offsets": id_offsets,
    }
    metadata = {
        "snapshot": snapshot.id,
        "knowledge": knowledge,
        "representation": representation,
        "columns": str(vectors.sparse.shape[1]),
    }
    return tensor_parts(tensors, metadata)


def unknown_images(unknown: Collection[str], way_out: str = "") -> UnknownImages:
    """The error that names up to 20 of them; `way_out` is what else may be done."""
    named = ", ".join(sorted(unknown)[:_NAMED_AT_MOST])
    return UnknownImages(
        f"{len(unknown)} images are not in the snapshot: {named}{', …' if len(unknown) > _NAMED_AT_MOST else ''}",
        hint=f"ingest them, then kg-service snapshot append, or publish{way_out}",
    )


def _rows(snapshot: Snapshot, request: TargetsRequest) -> tuple[Rows, Rows]:
    """Rows of the snapshot for both sides of the batch; for ids that it does not hold -1, -2 and so on, one number an id."""
    sides = [request.image_ids]
    if request.column_ids not in (None, request.image_ids):
        sides.append(request.column_ids or [])
    found = [snapshot.positions(image_ids) for image_ids in sides]
    unknown: dict[str, int] = {}
    for image_ids, rows in zip(sides, found, strict=True):
        for at in np.flatnonzero(rows < 0).tolist():
            rows[at] = unknown.setdefault(image_ids[at], -1 - len(unknown))
    if unknown and request.on_unknown == "error":
        raise unknown_images(unknown, _OR_FLAG)
    return found[0], found[-1]


def _caption_keys(snapshot: Snapshot, rows: Rows) -> npt.NDArray[np.int64]:
    """Keys that are equal where images or captions are: below zero for images that the snapshot does not hold."""
    held = rows >= 0
    keys: npt.NDArray[np.int64] = np.where(held, snapshot.caption_keys(np.where(held, rows, 0)), rows)
    return keys


def _own_columns(request: TargetsRequest, rows_R: Rows, columns_C: Rows) -> npt.NDArray[np.int64]:
    """The column of each row's own image, [R]."""
    if columns_C is rows_R:
        return np.arange(len(rows_R))
    distinct, first = np.unique(columns_C, return_index=True)
    place = np.searchsorted(distinct, rows_R).clip(max=len(distinct) - 1)
    missing = distinct[place] != rows_R
    if missing.any():
        example = request.image_ids[int(missing.argmax())]
        raise InvalidInput(
            f"image_ids holds {example!r}, which column_ids lacks",
            hint="a target row needs its own image among the columns; output 'similarity' does not",
        )
    own_R: npt.NDArray[np.int64] = first[place]
    return own_R
