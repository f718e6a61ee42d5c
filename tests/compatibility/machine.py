"""On what kind of machine numbers were computed: of another kind, their last bits differ."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np  # noqa: F401 - brings the libraries that are asked for
import scipy.linalg  # noqa: F401
from threadpoolctl import threadpool_info


def machine() -> dict[str, str]:
    """System, processor, and the kernels of the BLAS libraries."""
    kernels = sorted({library["architecture"] for library in threadpool_info() if "architecture" in library})
    return {"system": platform.system(), "machine": platform.machine(), "blas": " ".join(kernels)}


def computes_alike(version: Path, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Whether numbers come out bit for bit as when a version was recorded: the machine and the libraries are of the same kind.

    Args:
        version: folder of the version.
        before: `versions` of a manifest then.
        now: those of today's.
    """
    libraries = {name: number for name, number in before.items() if not name.startswith("nbclip")}
    same_libraries = libraries == {name: now.get(name) for name in libraries}
    return same_libraries and json.loads((version / "expected" / "machine.json").read_text()) == machine()
