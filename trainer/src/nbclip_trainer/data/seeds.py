"""Seeds that follow from what is drawn, so that a draw can be repeated without the ones before it."""

from __future__ import annotations

import numpy as np


def mixed(*numbers: int) -> int:
    """One 63-bit seed from several numbers, without the collisions of a sum."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
