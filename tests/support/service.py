"""`kg-service` as processes: the running service on a unix socket, and the command."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx2
from nbclip.schemas.images import ImageItem

STARTS_WITHIN_S = 60
COMMAND = [sys.executable, "-m", "kg_service"]


class Service:
    """A running service, on a unix socket or on a port; `client` asks it. `inside` is a prefix of its command."""

    def __init__(self, data: Path, settings: Mapping[str, str], *, port: int = 0, inside: Sequence[str] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kg")
        self._socket, self._log = Path(self._folder.name) / "kg.sock", Path(self._folder.name) / "log"
        self._port = port
        place = ["--port", str(port)] if port else ["--uds", str(self._socket)]
        command = [*inside, *COMMAND, "serve", "--data", str(data), *place, "--log-format", "json"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment(settings), stderr=log)
        self.url = f"http://127.0.0.1:{port}" if port else "http://localhost"
        transport = httpx2.HTTPTransport(uds=None if port else str(self._socket))
        self.client = httpx2.Client(transport=transport, base_url=self.url, timeout=60)
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self._listens():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def _listens(self) -> bool:
        place = ("127.0.0.1", self._port) if self._port else str(self._socket)
        with socket.socket(socket.AF_INET if self._port else socket.AF_UNIX) as connection:
            return connection.connect_ex(place) == 0

    def log(self) -> str:
        """What it wrote to standard error."""
        return self._log.read_text()

    def kill(self, *, with_children: bool) -> None:
        """Kills it as the system would, with the processes that work for it or without."""
        doomed = _children(self.process.pid) if with_children else []
        self.process.kill()
        for child in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Ends it."""
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()


def _children(process: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_children(child)]
    return found


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
