"""Prometheus and its promtool: those of PATH, or Debian's or Ubuntu's package, unpacked once into a cache, not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx2
import yaml
from support.neo4j.choice import Unobtainable
from support.tcp import free_port
from support.waiting import eventually

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"
KEY_FILE = "/run/secrets/trainer_key"
_PACKAGE = "prometheus"


class Programs(NamedTuple):
    """The two programs."""

    prometheus: Path
    promtool: Path


def find_prometheus() -> Programs:
    """The programs; the first time apt downloads 19 MB, for which nobody has to be root.

    Raises:
        Unobtainable: they are not in PATH, and apt has no such package or is not there.
    """
    given = [shutil.which(name) for name in Programs._fields]
    if all(given):
        return Programs(*map(Path, given))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbclip" / _PACKAGE
    if not folder.exists():
        _unpack(folder)
    return Programs(*(folder / "usr" / "bin" / name for name in Programs._fields))


def _unpack(folder: Path) -> None:
    """Two runs may do this at once: the folder appears whole, and the first one counts."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unobtainable(f"no {' and '.join(Programs._fields)} in PATH, and no apt-get to fetch them: install Prometheus")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="prometheus.") as scratch:
        _download(Path(scratch))
        (package,) = Path(scratch).glob("*.deb")
        whole = Path(scratch) / "whole"
        _run(["dpkg-deb", "--extract", package.name, whole.name], Path(scratch))
        try:
            whole.rename(folder)
        except OSError:
            if not folder.exists():
                raise


def _download(folder: Path) -> None:
    """By the machine's lists of packages; where an image was made without them, by lists of our own."""
    try:
        _run(["apt-get", "download", _PACKAGE], folder)
    except Unobtainable:
        (folder / "lists" / "partial").mkdir(parents=True)
        own = ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder}", "-o", "Debug::NoLocking=true"]
        _run(["apt-get", *own, "update"], folder)
        _run(["apt-get", *own, "download", _PACKAGE], folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Unobtainable(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def configured(folder: Path, services: Sequence[str], key: str, every: str) -> Path:
    """The deployed configuration in a folder, but for the addresses, the key's file and how often it asks."""
    shutil.copytree(DEPLOYED, folder, dirs_exist_ok=True)
    file, key_file = folder / "prometheus.yml", folder / "key"
    text = file.read_text()
    for deployed, ours in ((KEY_FILE, str(key_file)), ('"kg-service:8080"', ", ".join(services)), ("15s", every)):
        assert deployed in text
        text = text.replace(deployed, ours)
    key_file.write_text(key)
    file.write_text(text)
    yaml.safe_load(text)
    return file


class Prometheus:
    """A running Prometheus; `folder` holds its configuration and data."""

    def __init__(self, programs: Programs, folder: Path, config: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        address = self.url.removeprefix("http://")
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
        self._log = folder / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([programs.prometheus, *options], cwd=folder, stdout=log, stderr=log)
        self._client = httpx2.Client(base_url=self.url, timeout=10)
        eventually(self._is_ready, 30)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        found = answer["data"]["result"]
        return found if answer["data"]["resultType"] == "vector" else [{"metric": {}, "value": found}]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()
