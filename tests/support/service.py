"""`kg-service` as processes: the running service on a unix socket, and the command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2
from nbclip_shared.schemas import ImageItem

STARTS_WITHIN_S = 60
COMMAND = [sys.executable, "-m", "kg_service"]


class Service:
    """A running service; `client` asks it."""

    def __init__(self, data: Path, settings: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kg")
        self._socket, self._log = Path(self._folder.name) / "kg.sock", Path(self._folder.name) / "log"
        command = [*COMMAND, "serve", "--data", str(data), "--uds", str(self._socket), "--log-format", "json"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment(settings), stderr=log)
        self.client = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=str(self._socket)), base_url="http://localhost", timeout=60
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not _listens(self._socket):
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def close(self) -> None:
        """Ends it."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def run(*arguments: object, settings: Mapping[str, str], timeout_s: float = 120) -> tuple[int, str, str, float]:
    """Runs `kg-service`: exit status, standard output, standard error, seconds."""
    begun = time.monotonic()
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=timeout_s)
    return done.returncode, done.stdout, done.stderr, time.monotonic() - begun


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's, with these settings and no others of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KG_")} | dict(settings)


def upsert(service: Service, items: Sequence[ImageItem]) -> httpx2.Response:
    """`POST /images`."""
    return service.client.post("/images", json={"items": [item.model_dump(exclude_none=True) for item in items]})
