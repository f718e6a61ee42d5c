"""Image vectors of a batch, to bytes and back: what a trainer multiplies on its own device instead of asking for the matrix.

A body is a safetensors file with `sparse_indptr`, `sparse_indices`, `sparse_data` (CSR, [C, A]), `dense` ([C, d]),
`has_knowledge` and `unknown` (uint8, [C]); the header's metadata has `columns` (A) and what the vectors were made from.

Shape legend: C images, A columns of the sparse part, d dense dimensions, P entries of the sparse part, N images of a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nbclip.codec import Bytes, Layout, blank_body, read_tensors, write_tensors
from nbclip.errors import InvalidInput

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Csr = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
"""indptr, indices and data of a CSR matrix."""


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """The answer of `POST /v1/representations`: S = x·xᵀ of x = [sparse, dense], 1 where row and column are the same image.

    Attributes:
        indptr: int32, [C + 1].
        indices: int32, [P], rising within a row.
        data: float32 or float16, [P].
        dense: float32 or float16, [C, d]; d may be 0.
        columns: A.
        has_knowledge: bool, [C], False where the image has no vector.
        unknown: bool, [C], True where the snapshot does not hold the image.
        metadata: snapshot, knowledge, representation.
        body: what `encode_vectors` gives for the dtype of the values, where the arrays are views of it; None where they are not.
    """

    indptr: npt.NDArray[np.int32]
    indices: npt.NDArray[np.int32]
    data: Floats
    dense: Floats
    columns: int
    has_knowledge: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]
    metadata: Mapping[str, str]
    body: memoryview | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1


def blank_vectors(
    images: int,
    entries: int,
    shape: tuple[int, int],
    dtype: Literal["float32", "float16"],
    metadata: Mapping[str, str],
    allocate: Callable[[int], Bytes],
) -> VectorBatch:
    """A batch to be filled in place, in the very bytes that are to be sent.

    Args:
        images: C.
        entries: P.
        shape: A and d.
        dtype: of the values.
        metadata: as that of a batch.
        allocate: gives so many bytes, uninitialised.
    """
    columns, dimensions = shape
    layout: Layout = {
        "sparse_indptr": (np.int32, (images + 1,)),
        "sparse_indices": (np.int32, (entries,)),
        "sparse_data": (dtype, (entries,)),
        "dense": (dtype, (images, dimensions)),
        "has_knowledge": (np.bool_, (images,)),
        "unknown": (np.bool_, (images,)),
    }
    body, arrays = blank_body(layout, {**metadata, "columns": str(columns)}, allocate)
    indptr, indices, data, dense, known_C, unknown_C = arrays.values()
    return VectorBatch(indptr, indices, data, dense, columns, known_C, unknown_C, metadata, body)


def take_vectors(
    sparse: Csr, dense: Floats, columns: int, rows_C: npt.NDArray[np.int64], metadata: Mapping[str, str]
) -> VectorBatch:
    """The vectors of some rows of a table of N, in order; a row below zero is an unknown image, its vector zero.

    Args:
        sparse: indptr [N + 1], indices and data of the sparse part.
        dense: the dense part, [N, d].
        columns: A.
        rows_C: which rows, int64, [C].
        metadata: passed on.
    """
    indptr, indices, data = sparse
    unknown_C = rows_C < 0
    held_C = np.where(unknown_C, 0, rows_C)
    start_C = indptr[held_C].astype(np.int64)
    count_C = np.where(unknown_C, 0, indptr[held_C + 1] - start_C)
    new_indptr = np.zeros(len(rows_C) + 1, np.int32)
    np.cumsum(count_C, out=new_indptr[1:])
    entry_P = np.repeat(start_C - new_indptr[:-1], count_C) + np.arange(new_indptr[-1])
    dense_Cd = dense[held_C]
    dense_Cd[unknown_C] = 0
    has_knowledge_C = (count_C > 0) | dense_Cd.any(axis=1)
    entries = indices[entry_P].astype(np.int32, copy=False), data[entry_P]
    return VectorBatch(new_indptr, *entries, dense_Cd, columns, has_knowledge_C, unknown_C, metadata)


def encode_vectors(batch: VectorBatch, dtype: str = "float32") -> bytes | memoryview:
    """Serialises to safetensors with float32 or float16 values; equal batches give equal bytes."""
    if batch.body is not None and batch.data.dtype == dtype:
        return batch.body
    tensors = {
        "sparse_indptr": batch.indptr,
        "sparse_indices": batch.indices,
        "sparse_data": batch.data.astype(dtype, copy=False),
        "dense": batch.dense.astype(dtype, copy=False),
        "has_knowledge": batch.has_knowledge.astype(np.uint8),
        "unknown": batch.unknown.astype(np.uint8),
    }
    return write_tensors(tensors, {**batch.metadata, "columns": str(batch.columns)})


def decode_vectors(body: bytes) -> VectorBatch:
    """Reads what `encode_vectors` wrote, without a copy.

    Raises:
        InvalidInput: the body is not such a batch.
    """
    arrays, metadata = read_tensors(body)
    try:
        batch = VectorBatch(
            indptr=arrays["sparse_indptr"],
            indices=arrays["sparse_indices"],
            data=arrays["sparse_data"],
            dense=arrays["dense"],
            columns=int(metadata["columns"]),
            has_knowledge=arrays["has_knowledge"].astype(bool),
            unknown=arrays["unknown"].astype(bool),
            metadata={name: value for name, value in metadata.items() if name != "columns"},
        )
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            f"the safetensors body lacks {error}", hint="check that service and trainer have the same version"
        ) from error
    if not _is_whole(batch):
        found = ", ".join(f"{name} is {each.dtype} {list(each.shape)}" for name, each in _arrays(batch).items())
        raise InvalidInput(
            f"the safetensors body is no batch of vectors of {batch.columns} columns: {found}",
            hint="check that service and trainer have the same version",
        )
    return batch


def _arrays(batch: VectorBatch) -> dict[str, npt.NDArray[Any]]:
    names = ("indptr", "indices", "data", "dense", "has_knowledge", "unknown")
    return {name: getattr(batch, name) for name in names}


def _is_whole(batch: VectorBatch) -> bool:
    """Whether the arrays have the types and shapes of a batch, and `indptr` counts its entries."""
    shapes = {name: array.shape for name, array in _arrays(batch).items()}
    images = shapes["has_knowledge"]
    return (
        batch.indptr.dtype == batch.indices.dtype == np.int32
        and batch.data.dtype == batch.dense.dtype
        and batch.data.dtype.kind == "f"
        and batch.columns >= 0
        and len(images) == 1
        and len(shapes["dense"]) == 2
        and shapes["indptr"] == (images[0] + 1,)
        and shapes["unknown"] == shapes["dense"][:1] == images
        and shapes["indices"] == shapes["data"] == (batch.indptr[-1],)
        and batch.indptr[0] == 0
        and bool((batch.indptr[1:] >= batch.indptr[:-1]).all())
    )
