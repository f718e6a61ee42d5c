"""Folders that are there after a power cut too."""

from __future__ import annotations

from pathlib import Path

from nbclip.flushing import sync


def make_folder(folder: Path) -> None:
    """Makes a folder and what it lies in, if missing, so that it is there after a power cut too."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync(each.parent)
