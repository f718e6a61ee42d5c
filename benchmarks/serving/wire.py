"""One answer of a running service, over TCP and a unix socket, and the same arithmetic in this process."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from kernels import least_in_turns
from kg_service.snapshot import Snapshot, answer_targets
from nbclip.codec import MEDIA_TYPE
from nbclip.schemas.targets import TargetsRequest

_DTYPES = ("float32", "float16")
FORMS = tuple(f"{way}, {dtype}" for way in ("TCP", "unix socket") for dtype in _DTYPES)
VECTORS = "unix socket, vectors"
ZEROS = "as many zeros"
"""By a program that computes nothing: the least that any service could take beyond the arithmetic."""
Running = tuple[http.client.HTTPConnection, subprocess.Popen[bytes]]
MATRIX = {"Content-Type": "application/json", "Accept": MEDIA_TYPE}
_BARE = Path(__file__).with_name("bare.py")
_STARTS_WITHIN_S = 60
_TURNS_S = 10.0
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""With it, and without bytecode that was made before, every start compiles 1,200 modules; the image has them compiled."""


def wire_seconds(data: Path, snapshot: Snapshot, ids: Sequence[str]) -> dict[str, float]:
    """Seconds by the clock: in process with one copy of the matrix, and over each way from request to last byte.

    All take turns: other work on the machine meets all alike, and none finds the processor's memory warm from its own last
    turn, as no training step does either.
    """
    asks: dict[str, Callable[[], object]] = {}
    zeros, body = 4 * len(ids) ** 2, {"image_ids": list(ids)}
    with ExitStack() as running:
        way, _ = running.enter_context(service(data, "--port", "0"))
        unix, _ = running.enter_context(service(data, "--uds", str(data / "bench.sock")))
        for name, place in (("TCP", ("--port", "0")), ("unix socket", ("--uds", str(data / "zeros.sock")))):
            connection, _ = running.enter_context(_serving([sys.executable, str(_BARE), str(zeros)], data, *place))
            asks[f"{name}, {ZEROS}"] = _asking(connection, "/", body)
        for dtype in _DTYPES:
            asked = {"image_ids": list(ids), "output": "similarity", "dtype": dtype}
            asks[f"in process, {dtype}"] = partial(_in_process, snapshot, TargetsRequest.model_validate(asked))
            asks[f"TCP, {dtype}"] = _asking(way, "/targets", asked)
            asks[f"unix socket, {dtype}"] = _asking(unix, "/targets", asked)
        targets = {"image_ids": list(ids), "output": "targets"}
        asks["in process, output targets"] = partial(_in_process, snapshot, TargetsRequest.model_validate(targets))
        asks["unix socket, output targets"] = _asking(unix, "/targets", targets)
        asks[VECTORS] = _asking(unix, "/representations", {"image_ids": list(ids)})
        return least_in_turns(asks, _TURNS_S)


def _in_process(snapshot: Snapshot, request: TargetsRequest) -> object:
    return answer_targets(snapshot, request).values.copy()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def _asking(connection: http.client.HTTPConnection, path: str, asked: dict[str, object]):  # type: ignore[no-untyped-def]
    body = json.dumps(asked)
    buffer = memoryview(bytearray(4 * len(asked["image_ids"]) ** 2 + (4 << 20)))  # type: ignore[arg-type]

    def ask() -> int:
        connection.request("POST", path, body, MATRIX)
        response = connection.getresponse()
        size = int(response.getheader("content-length", "0"))
        if response.status != 200:
            raise SystemExit(f"status {response.status}: {response.read()[:500]!r}")
        taken = 0
        while taken < size:
            taken += response.readinto(buffer[taken:size])
        response.read()
        return taken

    return ask


@contextmanager
def service(data: Path, *place: str) -> Iterator[Running]:
    """A running `kg-service serve`, with a connection to it."""
    command = [sys.executable, "-m", "kg_service", "serve", "--data", str(data), "--log-format", "json"]
    with _serving(command, data, *place) as running:
        yield running


@contextmanager
def _serving(
    command: Sequence[str], data: Path, *place: str
) -> Iterator[tuple[http.client.HTTPConnection, subprocess.Popen[bytes]]]:
    """A running program that listens at `--port` or `--uds`, with a connection to it."""
    if place[0] == "--port":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = ("--port", str(free.getsockname()[1]))
    else:
        Path(place[1]).unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KG_") and name != _NO_BYTECODE}
    with (data / "serve.log").open("ab") as log:
        process = subprocess.Popen([*command, *place], env=environment, stderr=log)
    connection = _UnixConnection(place[1]) if place[0] == "--uds" else http.client.HTTPConnection("127.0.0.1", int(place[1]))
    try:
        _wait(connection)
        yield connection, process
    finally:
        connection.close()
        process.terminate()
        process.wait()


def _wait(connection: http.client.HTTPConnection) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            connection.connect()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            # Opened anew by the first request: the service ends what is idle while others start.
            connection.close()
            return
