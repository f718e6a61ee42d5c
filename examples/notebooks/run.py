"""Runs the notebooks of this folder and saves their outputs: `make notebooks`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
_LIMIT_S = 240


def executed(notebook: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs that its cells give now, and nothing of the machine that ran them.

    Raises:
        CellExecutionError: a cell failed.
    """
    found = nbformat.read(notebook, as_version=4)
    metadata = found.metadata.copy()
    with tempfile.TemporaryDirectory(prefix="notebook-") as scratch:
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{scratch}/kernel"}})
        place = {"metadata": {"path": str(HERE)}}
        client = NotebookClient(found, timeout=_LIMIT_S, resources=place, record_timing=False, config=sockets)
        # A kernel that is slow to end is killed, and then leaves its files.
        client.execute(env={**os.environ, "TMPDIR": scratch})
    # The kernel adds its Python's version, which changes with the machine.
    found.metadata = metadata
    return found


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(f"ran {path.relative_to(Path.cwd())}")
