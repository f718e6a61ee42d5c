"""What a former answer says that today's must say too: every field, and more are allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors

TOLERANCE = 1e-6
VERSIONS = frozenset({"version", "versions", "linker", "linkers"})
"""A later linker adds its name to those of the edges that are stored."""
CLOCK = frozenset({"created_at", "ingested_at", "seconds", "rows_per_second", "eta_seconds", "request_id"})
PROSE = frozenset({"detail", "error", "hint", "message", "notes", "reason", "title"})
"""For people, who read another wording as well; an error is known by its `type`."""
MASKED = VERSIONS | CLOCK | PROSE
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16, "U8": np.uint8, "I32": np.int32, "I64": np.int64}
_TOLERANCES = {"F32": TOLERANCE, "F16": 1e-3, "BF16": 1e-2}


def differences(recorded: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where `found` lacks what was recorded, or says something else; `MASKED` fields need only be there."""
    match recorded, found:
        case dict(), dict():
            for name, value in recorded.items():
                if name not in found:
                    yield f"{place}.{name} is missing"
                elif name not in MASKED:
                    yield from differences(value, found[name], f"{place}.{name}")
        case list(), list():
            if len(recorded) != len(found):
                yield f"{place}: {len(found)} instead of {len(recorded)}"
            for number, pair in enumerate(zip(recorded, found, strict=False)):
                yield from differences(*pair, f"{place}[{number}]")
        case int() | float(), int() | float() if not isinstance(recorded, bool) and not isinstance(found, bool):
            if not math.isclose(recorded, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
                yield f"{place}: {found} instead of {recorded}"
        case _:
            if recorded != found or type(recorded) is not type(found):
                yield f"{place}: {found!r:.200} instead of {recorded!r:.200}"


def tensor_differences(recorded: bytes, found: bytes) -> Iterator[str]:
    """As `differences`, of two safetensors bodies."""
    before, now = dict(safetensors.deserialize(recorded)), dict(safetensors.deserialize(found))
    yield from differences(_metadata(recorded), _metadata(found), "metadata")
    for name, tensor in before.items():
        if name not in now:
            yield f"{name} is missing"
        elif (tensor["dtype"], tensor["shape"]) != (now[name]["dtype"], now[name]["shape"]):
            yield f"{name}: {now[name]['dtype']} {now[name]['shape']} instead of {tensor['dtype']} {tensor['shape']}"
        elif not np.allclose(_values(tensor), _values(now[name]), rtol=0, atol=_TOLERANCES.get(tensor["dtype"], 0)):
            yield f"{name} has other values"


def _metadata(body: bytes) -> Mapping[str, str]:
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length]).get("__metadata__", {})


def _values(tensor: Mapping[str, Any]) -> np.ndarray:
    values = np.frombuffer(tensor["data"], _DTYPES[tensor["dtype"]])
    return (values.astype(np.uint32) << 16).view(np.float32) if tensor["dtype"] == "BF16" else values.astype(np.float64)
