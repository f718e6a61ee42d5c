"""Answers of `POST /v1/targets` and `POST /v1/representations`: image ids to a matrix or vectors, with an opened snapshot alone.

Shape legend: R rows, C columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
from nbclip.codec import TargetMatrix, blank_matrix, tensor_parts
from nbclip.errors import InvalidInput, UnknownImages
from nbclip.schemas.targets import Knowledge, RepresentationsRequest, TargetParameters, TargetsRequest
from nbclip.vectors import VectorBatch, blank_vectors

from kg_service.similarity.buffers import empty_bytes
from kg_service.similarity.kernel import fill_float16, similarity
from kg_service.similarity.rows import Rows, entries_of, fill_rows, has_knowledge
from kg_service.similarity.target_rows import grouped, to_target_rows
from kg_service.snapshot.opened import Snapshot
from kg_service.snapshot.segment import join_vectors, joined_ids
from kg_service.tracing import stage

_NAMED_AT_MOST = 20
_PARAMETERS = set(TargetParameters.model_fields)
_OR_FLAG = ", or ask with on_unknown 'flag'"


def answer_targets(
    snapshot: Snapshot, request: TargetsRequest, on_rows: Callable[[TargetMatrix, int], None] | None = None
) -> TargetMatrix:
    """Similarities or target rows of a batch.

    Images that the snapshot does not hold, or that have no usable CUI, are similar to themselves alone: their target row is
    one-hot, their column gets no neighbour's mass (in the paper's own form, softmax's share of a similarity of 0), and the
    matrix flags them.

    `on_rows` is told of the matrix, all but its values being final, and how many of its first rows are, whenever some more are.

    Raises:
        UnknownImages: with `on_unknown="error"`, naming up to 20 of them.
        InvalidInput: unknown variant, or a row that is not among the columns where targets are asked for.
    """
    with stage("build targets", rows=len(request.image_ids), columns=len(request.column_ids or request.image_ids)):
        rows_R, columns_C = _rows(snapshot, request)
        vectors = snapshot.vectors(request.representation, request.knowledge)
        matrix = _blank(snapshot, request, (len(rows_R), len(columns_C)))
        matrix.has_knowledge[:], matrix.unknown[:] = has_knowledge(vectors, columns_C), columns_C < 0
        finish = _finishing(snapshot, request, rows_R, columns_C, matrix)

        def finish_some(sim_RC: npt.NDArray[np.float32], first: int, end: int) -> None:
            finish(sim_RC[first:end], first, end)
            if on_rows is not None:
                on_rows(matrix, end)

        place_RC = matrix.values if request.dtype != "float16" else None
        similarity(vectors, rows_R, columns_C, place_RC, finish_some)
        return matrix


def _finishing(
    snapshot: Snapshot, request: TargetsRequest, rows_R: Rows, columns_C: Rows, matrix: TargetMatrix
) -> Callable[[npt.NDArray[np.float32], int, int], None]:
    """What makes final values of the similarities of some rows: target rows, rounded ones."""
    columns, own_R = None, rows_R
    if request.output == "targets":
        own_R = _own_columns(request, rows_R, columns_C)
        columns = grouped(_caption_keys(snapshot, columns_C), matrix.has_knowledge)

    def finish(sim_RC: npt.NDArray[np.float32], first: int, end: int) -> None:
        if columns is not None:
            to_target_rows(sim_RC, own_R[first:end], columns, request)
        if request.dtype == "float16":
            fill_float16(sim_RC, matrix.values[first:end])

    return finish


def _blank(snapshot: Snapshot, request: TargetsRequest, shape: tuple[int, int]) -> TargetMatrix:
    """A matrix to be filled; of float32 for bfloat16, which numpy lacks."""
    metadata = _metadata(snapshot, request) | {"parameters": request.model_dump_json(include=_PARAMETERS)}
    return blank_matrix(request.output, shape, "float16" if request.dtype == "float16" else "float32", metadata, empty_bytes)


def _metadata(snapshot: Snapshot, request: TargetsRequest | RepresentationsRequest) -> dict[str, str]:
    return {"snapshot": snapshot.id, "knowledge": request.knowledge, "representation": request.representation}


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
    shape = vectors.sparse.shape[1], vectors.dense.shape[1]
    entries, metadata = entries_of(vectors, rows_C), _metadata(snapshot, request)
    batch = blank_vectors(len(rows_C), entries, shape, request.dtype, metadata, empty_bytes)
    batch.has_knowledge[:], batch.unknown[:] = has_knowledge(vectors, rows_C), rows_C < 0
    if request.dtype == "float32":
        fill_rows(vectors, rows_C, batch.indptr, batch.indices, batch.data, batch.dense)
    else:
        data, dense = np.empty(entries, np.float32), np.empty((len(rows_C), shape[1]), np.float32)
        fill_rows(vectors, rows_C, batch.indptr, batch.indices, data, dense)
        fill_float16(data, batch.data)
        fill_float16(dense, batch.dense)
    return batch


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
        **({"split": snapshot.manifest.split} if snapshot.manifest.split is not None else {}),
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
