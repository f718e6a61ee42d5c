"""CUIs, and other ids of concepts, as an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_LEAST_BYTES = len("C0000000")


def cui_array(cuis: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """The ids as bytes, [M]: of 8 bytes each where all are CUIs, as wide as the longest elsewhere."""
    return np.array(cuis, f"S{max(_LEAST_BYTES, *map(len, cuis))}" if cuis else f"S{_LEAST_BYTES}")
