"""How often a random test tries: a few times in each run, and in full in `make nightly`."""

from __future__ import annotations

import os

NIGHTLY = os.environ.get("NBCLIP_NIGHTLY") == "1"


def often(each_run: int, nightly: int) -> int:
    """The count of this run."""
    return nightly if NIGHTLY else each_run
