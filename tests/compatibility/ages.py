"""The ages of recorded snapshots, which git does not keep, and by which they are listed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


def restore_ages(version: Path, data: Path) -> None:
    """Makes the snapshots of a copied data folder as old as they were when the version was recorded, one second apart."""
    newest_first = json.loads((version / "expected" / "snapshots.json").read_text())["list"]
    now = time.time()
    for age_s, line in enumerate(newest_first, 1):
        os.utime(data / "snapshots" / line.split()[0] / "manifest.json", (now - age_s, now - age_s))
