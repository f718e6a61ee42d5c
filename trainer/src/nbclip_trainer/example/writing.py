"""Writes the tiny example as files. `examples/tiny.py` cuts it out of the repository's example data."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

from nbclip.errors import Conflict


def write_example(folder: Path) -> Path:
    """Writes `metadata.csv`, its `images/` and the `vocabulary/` that its captions are linked with.

    Args:
        folder: the new folder; it appears whole or not at all.

    Returns:
        `folder`.

    Raises:
        Conflict: `folder` is there already.
    """
    if folder.exists():
        raise Conflict(f"{folder} already exists", hint="choose another folder, or remove it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with (resources.files(__package__) / "tiny.zip").open("rb") as packed, zipfile.ZipFile(packed) as archive:
            archive.extractall(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder
