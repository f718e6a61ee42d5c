"""Matrix to bytes and back: the only place that knows the wire layout (safetensors).

A body holds the matrix under the name of its output (`targets` or `similarity`, [R, C]), `has_knowledge` and `unknown`
(uint8, [C]), and in the header's metadata the snapshot, knowledge, representation and parameters it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import safetensors

from nbclip.errors import InvalidInput
from nbclip.schemas.targets import MatrixDtype

MEDIA_TYPE = "application/vnd.safetensors"
_KINDS = {"F32": np.float32, "F16": np.float16, "U8": np.uint8, "I32": np.int32, "I64": np.int64}
_DTYPES: dict[MatrixDtype, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


@dataclass(frozen=True, slots=True)
class TargetMatrix:
    """The answer of `POST /targets`.

    Attributes:
        output: what `values` holds: target rows (each sums to 1) or similarities in [-1, 1].
        values: float32, or float16 where similarities are made for the wire, [R, C].
        has_knowledge: bool, [C], False where the image has no usable CUI.
        unknown: bool, [C], True where the snapshot does not hold the image.
        metadata: snapshot, knowledge, representation, parameters (JSON).
    """

    output: Literal["targets", "similarity"]
    values: npt.NDArray[np.float32] | npt.NDArray[np.float16]
    has_knowledge: npt.NDArray[np.bool_]
    unknown: npt.NDArray[np.bool_]
    metadata: dict[str, str]


def encode(matrix: TargetMatrix, dtype: MatrixDtype = "float32") -> bytes:
    """Serialises to safetensors with `values` as `dtype` (bfloat16 rounds to nearest even); equal matrices give equal bytes."""
    return b"".join(encode_parts(matrix, dtype))


def encode_parts(matrix: TargetMatrix, dtype: MatrixDtype = "float32") -> list[bytes | memoryview]:
    """What `encode` joins: `values` are not copied where they are of `dtype` already."""
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
    return _parts({name: (np.ascontiguousarray(array), _code(array)) for name, array in tensors.items()}, metadata)


def decode(body: bytes) -> TargetMatrix:
    """Reads what `encode` wrote, `values` as float32.

    Raises:
        InvalidInput: the body is not such a matrix.
    """
    arrays, metadata = read_tensors(body)
    output = "targets" if "targets" in arrays else "similarity"
    missing = {output, "has_knowledge", "unknown"} - arrays.keys()
    if missing:
        raise InvalidInput(f"the safetensors body lacks {sorted(missing)}", hint="do service and trainer have the same version?")
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
        raise InvalidInput(f"not a safetensors file: {error}", hint="is the URL that of a kg-service of this version?") from error


def _parts(tensors: Mapping[str, tuple[npt.NDArray[Any], str]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """The format's own layout: length, header, data. Its library orders metadata by chance, which changes the bytes."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, (array, code) in tensors.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    # An empty array's memory can't be looked at as bytes.
    bodies = [array.data.cast("B") for array, _ in tensors.values() if array.size]
    return [len(text).to_bytes(8, "little") + text, *bodies]


def _code(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype.kind.upper()}{8 * array.dtype.itemsize}"


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
    return cast(dict[str, str], json.loads(body[8 : 8 + length]).get("__metadata__", {}))
