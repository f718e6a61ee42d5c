"""A kg-service of your own for the notebooks, on the example data: its command, and the running service."""

from __future__ import annotations

import atexit
import csv
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1]
RADIOLOGY = EXAMPLES / "radiology-open"
_FOLDER = tempfile.TemporaryDirectory(prefix="kg-notebook-", ignore_cleanup_errors=True)
_FORCED = {"FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"}
"""Set by Jupyter: they would make what is meant for a terminal of the output."""
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in _FORCED} | {
    "KG_DATA": "data",
    "NO_COLOR": "1",
    "COLUMNS": "100",
    "PYTHONIOENCODING": "utf-8",
}
_STARTS_WITHIN_S = 60


def pairs(count: int) -> dict[str, dict[str, str]]:
    """The first training pairs of the example data: rows of `metadata.csv` by image id."""
    with (RADIOLOGY / "metadata.csv").open(encoding="utf-8", newline="") as lines:
        training = (row for row in csv.DictReader(lines) if row["split"] == "train")
        return {row["image_id"]: row for row in islice(training, count)}


def captions(rows: dict[str, dict[str, str]]) -> Path:
    """A table of the pairs' ids and captions, as `kg-service ingest` reads it."""
    table = Path(_FOLDER.name) / "captions.csv"
    with table.open("w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([("image_id", "caption", "split")])
        csv.writer(lines).writerows((image_id, row["caption"], row["split"]) for image_id, row in rows.items())
    return table


def kg_service(*words: object) -> None:
    """Runs `kg-service` with these words, as in a terminal, and shows what it prints.

    Raises:
        RuntimeError: it failed, with its own message.
    """
    command = [sys.executable, "-m", "kg_service", *map(str, words)]
    done = subprocess.run(command, cwd=_FOLDER.name, env=_ENVIRONMENT, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    print((done.stderr + done.stdout).rstrip())


def serve() -> str:
    """Starts `kg-service serve` on a free port and returns its address once it answers; it ends with the notebook.

    Raises:
        RuntimeError: it did not start, with its own message.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "kg_service", "serve", "--port", str(port)]
    log = Path(_FOLDER.name) / "service.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=_FOLDER.name, env=_ENVIRONMENT, stdout=stream, stderr=stream)
    atexit.register(_end, process)
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return f"http://127.0.0.1:{port}"
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {log.read_text(encoding='utf-8').strip()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
