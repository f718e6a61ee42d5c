"""Matrix to bytes and back: the only place that knows the wire layout (safetensors).

A body holds the matrix under the name of its output (`targets` or `similarity`, [R, C]), `has_knowledge` and `unknown`
(uint8, [C]), and in the header's metadata the snapshot, knowledge, representation and parameters it was made from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import safetensors

from nbclip.errors import InvalidInput
from nbclip.schemas.targets import MatrixDtype

MEDIA_TYPE = "application/vnd.safetensors"
_KINDS = {"F32": np.float32, "F16": np.float16, "U8": np.uint8, "I32": np.int32, "I64": np.int64}
Bytes = npt.NDArray[np.uint8]
Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
"""Dtype and shape of each array of a file, by name."""
_ALIGNED = 64
_as_json = json.JSONEncoder(separators=(",", ":")).encode
_DTYPES: dict[MatrixDtype, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


@dataclass(frozen=True, slots=True)
class TargetMatrix:
    """The answer of `POST /v1/targets`.

    Attributes:
        output: what `values` holds: target rows (each sums to 1) or similarities in [-1, 1].
        values: float32, or float16 where similarities are made for the wire, [R, C].
        has_knowledge: bool, [C], False where the image has no usable CUI.
        unknown: bool, [C], True where the snapshot does not hold the image.
        metadata: snapshot, knowledge, representation, parameters (JSON).
        body: what `encode` gives for the dtype of `values`, where the arrays are views of it; None where they are not.
    """

    output: Literal["targets", "similarity"]
    values: npt.NDArray[np.float32] | npt.NDArray[np.float16]
    has_knowledge: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]
    metadata: dict[str, str]
    body: memoryview | None = None


def blank_matrix(
    output: Literal["targets", "similarity"],
    shape: tuple[int, int],
    dtype: Literal["float32", "float16"],
    metadata: Mapping[str, str],
    allocate: Callable[[int], Bytes],
) -> TargetMatrix:
    """A matrix to be filled in place, in the very bytes that are to be sent.

    Args:
        output: what it is to hold.
        shape: rows and columns.
        dtype: of `values`.
        metadata: as that of a matrix.
        allocate: gives so many bytes, uninitialised.
    """
    layout: Layout = {output: (dtype, shape), "has_knowledge": (np.bool_, shape[1:]), "unknown": (np.bool_, shape[1:])}
    body, arrays = blank_body(layout, metadata, allocate)
    return TargetMatrix(output, arrays[output], arrays["has_knowledge"], arrays["unknown"], dict(metadata), body)


def final_part(matrix: TargetMatrix, rows: int) -> tuple[memoryview, int]:
    """The body of a matrix that `blank_matrix` gave, and how many of its first bytes are final once so many rows are."""
    if matrix.body is None:
        raise ValueError("a matrix that does not lie in its body")
    values = matrix.values
    missing = 0 if rows == len(values) else values[rows:].nbytes + matrix.has_knowledge.nbytes + matrix.unknown.nbytes
    return matrix.body, len(matrix.body) - missing


def encode(matrix: TargetMatrix, dtype: MatrixDtype = "float32") -> bytes:
    """Serialises to safetensors with `values` as `dtype` (bfloat16 rounds to nearest even); equal matrices give equal bytes."""
    return b"".join(encode_parts(matrix, dtype))


def encode_parts(matrix: TargetMatrix, dtype: MatrixDtype = "float32") -> list[bytes | memoryview]:
    """What `encode` joins: `values` are not copied where they are of `dtype` already."""
    if matrix.body is not None and matrix.values.dtype == dtype:
        return [matrix.body]
    tensors = {
        matrix.output: (_rounded(matrix.values, dtype), _DTYPES[dtype]),
        "has_knowledge": (matrix.has_knowledge.astype(np.uint8), "U8"),
        "unknown": (matrix.unknown.astype(np.uint8), "U8"),
    }
    return _parts(tensors, matrix.metadata)


def write_tensors(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Serialises arrays to safetensors; equal arrays give equal bytes."""
    return b"".join(tensor_parts(tensors, metadata))


def tensor_parts(tensors: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """What `write_tensors` joins: the header, and each array's own memory."""
    return _parts({name: (np.ascontiguousarray(array), _code(array.dtype)) for name, array in tensors.items()}, metadata)


def decode(body: bytes) -> TargetMatrix:
    """Reads what `encode` wrote, `values` as float32.

    Raises:
        InvalidInput: the body is not such a matrix.
    """
    arrays, metadata = read_tensors(body)
    output = "targets" if "targets" in arrays else "similarity"
    missing = {output, "has_knowledge", "unknown"} - arrays.keys()
    if missing:
        raise InvalidInput(
            f"the safetensors body lacks {sorted(missing)}", hint="check that service and trainer have the same version"
        )
    shape, marked = arrays[output].shape, [arrays[name].shape for name in ("has_knowledge", "unknown")]
    if len(shape) != 2 or marked != [shape[1:]] * 2:
        raise InvalidInput(
            f"the safetensors body is no matrix: {output} has shape {list(shape)}, has_knowledge and unknown {marked}",
            hint="check that service and trainer have the same version",
        )
    return TargetMatrix(
        output=cast(Literal["targets", "similarity"], output),
        values=arrays[output].astype(np.float32, copy=False),
        has_knowledge=arrays["has_knowledge"].astype(bool),
        unknown=arrays["unknown"].astype(bool),
        metadata=metadata,
    )


def read_tensors(body: bytes) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file; bfloat16, which numpy lacks, as float32.

    Raises:
        InvalidInput: it is not such a file.
    """
    try:
        tensors = dict(safetensors.deserialize(body))  # type: ignore[no-untyped-call]
        return {name: _array(tensor) for name, tensor in tensors.items()}, _metadata(body)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InvalidInput(
            f"not a safetensors file: {error}", hint="check that the URL is that of a kg-service of this version"
        ) from error


def map_tensors(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """The arrays and the metadata of a safetensors file, the arrays mapped: nothing of them is read before it is used.

    Raises:
        OSError: the file can't be read.
        InvalidInput: it is not such a file, or has bfloat16, which numpy lacks.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = dict(file.metadata() or {})
        whole = np.memmap(path, np.uint8, "r").view(np.ndarray)
        data = 8 + int.from_bytes(whole[:8].tobytes(), "little")
        header = json.loads(whole[8:data].tobytes())
        header.pop("__metadata__", None)
        arrays = {}
        for name, tensor in header.items():
            start, end = tensor["data_offsets"]
            arrays[name] = whole[data + start : data + end].view(_KINDS[tensor["dtype"]]).reshape(tensor["shape"])
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InvalidInput(f"not a safetensors file: {error}") from error
    return arrays, metadata


def blank_body(
    layout: Layout, metadata: Mapping[str, str], allocate: Callable[[int], Bytes]
) -> tuple[memoryview, dict[str, npt.NDArray[Any]]]:
    """A safetensors file whose header is written, and its arrays by name, to be filled in place; bool for uint8.

    The first array of the file lies at a multiple of 64 in memory, where vector registers load it at once.
    """
    kinds = {name: (np.dtype(kind), shape) for name, (kind, shape) in layout.items()}
    kinds = dict(sorted(kinds.items(), key=lambda one: -one[1][0].itemsize))
    sizes = {name: kind.itemsize * math.prod(shape) for name, (kind, shape) in kinds.items()}
    header = _header({name: (_code(kind), shape, sizes[name]) for name, (kind, shape) in kinds.items()}, metadata)
    memory = allocate(len(header) + sum(sizes.values()) + _ALIGNED)
    at = -(memory.__array_interface__["data"][0] + len(header)) % _ALIGNED
    body = memory[at : at + len(header) + sum(sizes.values())]
    body[: len(header)] = np.frombuffer(header, np.uint8)
    arrays, at = {}, len(header)
    for name, (kind, shape) in kinds.items():
        arrays[name] = body[at : at + sizes[name]].view(kind).reshape(shape)
        at += sizes[name]
    return body.data, {name: arrays[name] for name in layout}


def _parts(tensors: Mapping[str, tuple[npt.NDArray[Any], str]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    tensors = dict(sorted(tensors.items(), key=lambda one: -one[1][0].itemsize))
    header = _header({name: (code, array.shape, array.nbytes) for name, (array, code) in tensors.items()}, metadata)
    # An empty array's memory can't be looked at as bytes.
    return [header, *(array.data.cast("B") for array, _ in tensors.values() if array.size)]


def _header(tensors: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]) -> bytes:
    """The format's own layout: length, header, data. Its library orders metadata by chance, which changes the bytes.

    `tensors` are codes, shapes and bytes in the order of the file, the widest items first: the format allows no gaps, and so each
    begins at a multiple of its item size. The header's length is a multiple of 8.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, (code, shape, size) in tensors.items():
        start, end = end, end + size
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    text = _as_json(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _code(kind: np.dtype[Any]) -> str:
    return "U8" if kind == np.bool_ else f"{kind.kind.upper()}{8 * kind.itemsize}"


def _rounded(array: npt.NDArray[np.floating[Any]], dtype: MatrixDtype) -> npt.NDArray[Any]:
    """`array` as `dtype`, C order; bfloat16, which numpy lacks, as its bits in uint16."""
    if dtype != "bfloat16":
        return np.ascontiguousarray(array, dtype)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _array(tensor: dict[str, Any]) -> npt.NDArray[Any]:
    if tensor["dtype"] == "BF16":
        bits = np.frombuffer(tensor["data"], np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(tensor["shape"])
    array: npt.NDArray[Any] = np.frombuffer(tensor["data"], _KINDS[tensor["dtype"]])
    return array.reshape(tensor["shape"])


def _metadata(body: bytes) -> dict[str, str]:
    length = int.from_bytes(body[:8], "little")
    return cast(dict[str, str], json.loads(body[8 : 8 + length]).get("__metadata__") or {})
