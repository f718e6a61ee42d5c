"""A TCP proxy that harms what goes through it: Shopify's toxiproxy, from PATH or built once by Go into a cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx2
from support.neo4j.choice import Unobtainable
from support.neo4j.server import free_ports
from support.waiting import eventually

VERSION = "v2.12.0"
_SOURCE = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
_GO_OFTEN_IN = "/usr/local/go/bin"

Stream = Literal["upstream", "downstream"]


def find_toxiproxy() -> Path:
    """The program; the first time Go downloads 10 MB and builds it, which takes a minute.

    Raises:
        Unobtainable: it is not there, and there is no `go` or it fails.
    """
    if given := shutil.which("toxiproxy-server"):
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbclip"
    program = cache / f"toxiproxy-{VERSION}"
    if not program.exists():
        _build(program)
    return program


def _build(program: Path) -> None:
    """Two runs may do this at once: the program appears whole."""
    go = shutil.which("go", path=f"{os.environ.get('PATH', '')}:{_GO_OFTEN_IN}")
    if go is None:
        raise Unobtainable(f"no toxiproxy-server and no go in PATH or {_GO_OFTEN_IN}")
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="toxiproxy.") as scratch:
        done = subprocess.run([go, "install", _SOURCE], env=os.environ | {"GOBIN": scratch}, capture_output=True, text=True)
        if done.returncode:
            raise Unobtainable(f"go can't build {_SOURCE}: {done.stderr.strip()[-500:]}")
        (Path(scratch) / "server").replace(program)


class Proxy:
    """A running proxy: what connects to `port` of loopback reaches `upstream` (HOST:PORT)."""

    def __init__(self, program: Path, upstream: str) -> None:
        api, self.port = free_ports(2)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([program, "-host", "127.0.0.1", "-port", str(api)], **quiet)
        self._api = httpx2.Client(base_url=f"http://127.0.0.1:{api}", timeout=10)
        eventually(self._answers, 10)
        self._ask("/proxies", name="neo4j", listen=f"127.0.0.1:{self.port}", upstream=upstream, enabled=True)

    @contextmanager
    def toxic(self, kind: str, stream: Stream = "downstream", **attributes: int) -> Iterator[None]:
        """Harms all connections, those that are open too; units are toxiproxy's: ms, bytes, KB/s."""
        self._ask("/proxies/neo4j/toxics", name=kind, type=kind, stream=stream, attributes=attributes)
        try:
            yield
        finally:
            self._ask("/reset")

    @contextmanager
    def down(self) -> Iterator[None]:
        """Closes all connections and takes no new ones."""
        self._ask("/proxies/neo4j", enabled=False)
        try:
            yield
        finally:
            self._ask("/reset")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._api.close()
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "toxiproxy has ended"
        try:
            return self._api.get("/version").status_code == 200
        except httpx2.TransportError:
            return False

    def _ask(self, path: str, **body: Any) -> None:
        answer = self._api.post(path, json=body)
        assert answer.is_success, answer.text
