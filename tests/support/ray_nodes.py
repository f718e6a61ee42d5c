"""Nodes of a Ray cluster as processes of this machine, each with ports of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from support.waiting import eventually

STARTS_WITHIN_S = 240
_PORTS = (
    "node-manager",
    "object-manager",
    "runtime-env-agent",
    "dashboard-agent-listen",
    "dashboard-agent-grpc",
    "metrics-export",
)
_PORTS_OF_A_NODE = 40


class Nodes:
    """A cluster that grows by a node at a time.

    Attributes:
        address: of its head.
        environment: with which its driver is run.
    """

    def __init__(self, folder: Path) -> None:
        # Below those that the system gives to whoever asks for any.
        self._port = 20_000 + os.getpid() % 100 * 125
        self.address = f"127.0.0.1:{self._port}"
        self.environment = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_raylet_start_wait_time_s": "120",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        }
        self._folder, self._numbers, self._sessions = folder, dict[str, int](), dict[str, int]()

    def start(self, name: str, settings: Mapping[str, str] | None = None, *, inside: Sequence[str] = ()) -> None:
        """Starts a node with one CPU, also one that died; the first is the head. `inside` is a prefix of its command."""
        number = self._numbers.setdefault(name, len(self._numbers))
        first = self._port + 1 + _PORTS_OF_A_NODE * number
        head = ["--head", f"--port={self._port}", f"--temp-dir={self._folder}", "--include-dashboard=false", "--no-monitor"]
        head += [f"--ray-client-server-port={first + 6}"]
        options = [f"--address={self.address}"] if number else head
        options += [f"--{kind}-port={first + number}" for number, kind in enumerate(_PORTS)]
        options += [f"--min-worker-port={first + 7}", f"--max-worker-port={first + _PORTS_OF_A_NODE - 1}"]
        options += [f"--node-name={name}", "--num-cpus=1", "--object-store-memory=80000000", "--include-log-monitor=false"]
        with (self._folder / f"{name}.log").open("w+") as log:
            starting = subprocess.Popen(
                [*inside, Path(sys.executable).with_name("ray"), "start", *options],
                env=os.environ | self.environment | dict(settings or {}),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._sessions[name] = starting.pid
            assert starting.wait(STARTS_WITHIN_S) == 0, Path(log.name).read_text()

    def kill(self, name: str) -> None:
        """Kills a node, all processes of it at once, as its machine would die."""
        _kill(_of_session(self._sessions[name]))

    def processes(self, name: str) -> dict[int, str]:
        """Processes of a node: `gcs_server` on the head, `raylet`, workers as `ray::` and what they do."""
        found = {}
        for process in _of_session(self._sessions[name]):
            with suppress(OSError):
                found[process] = Path(f"/proc/{process}/comm").read_text().strip()
        return found

    def close(self) -> None:
        """Ends all nodes."""
        eventually(lambda: not _kill([each for session in self._sessions.values() for each in _of_session(session)]), 20)


def _of_session(session: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


def _kill(doomed: list[int]) -> list[int]:
    for process in doomed:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return doomed


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    """A cluster without nodes; what is started of it ends with the block."""
    # A short path: that of a socket in it is limited.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.close()
        shutil.rmtree(folder)
