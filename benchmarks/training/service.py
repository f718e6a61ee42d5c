"""A service with the examples' snapshot, for the time of a benchmark."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_EXAMPLES = Path(__file__).parents[2] / "examples"
_PATIENCE = 60.0


def prepared(cache: Path) -> Path:
    """Vocabulary, graph and snapshot of the examples' training split, made once; returns the file of its vectors."""
    vectors = cache / "dk_ek.vectors"
    if not vectors.is_file():
        _kg_service(cache, "vocabulary", "build", str(_EXAMPLES / "vocabulary"))
        for folder in ("radiology-open", "rocov2"):
            _kg_service(cache, "ingest", str(_EXAMPLES / folder / "metadata.csv"), "--relink")
        _kg_service(cache, "snapshot", "publish", "--split", "train")
        _kg_service(cache, "snapshot", "embeddings", str(vectors), "--knowledge", "dk_ek")
    return vectors


@contextmanager
def serving(cache: Path, core: int | None = None) -> Iterator[str]:
    """The service's address; it listens when the block begins, and runs on this core alone if one is given."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (cache / "service.log").open("w") as log:
        prefix = () if core is None else ("taskset", "-c", str(core))
        command = [*prefix, sys.executable, "-m", "kg_service", "serve", "--port", str(port)]
        process = subprocess.Popen(command, env=_environment(cache), stdout=log, stderr=log)
    try:
        _await(url, process)
        yield url
    finally:
        process.terminate()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz?for=targets"):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the service did not start within {_PATIENCE:.0f} s")


def _kg_service(cache: Path, *command: str) -> None:
    subprocess.run([sys.executable, "-m", "kg_service", *command], env=_environment(cache), check=True)


def _environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "KG_DATA": str(cache / "service")}
