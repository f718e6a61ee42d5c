"""Neo4j as a process of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.neo4j.disk import SmallDisk
from support.neo4j.server import SETTINGS, DidNotStart, Neo4jServer, free_ports, wait_until_ready

FLAGS = [
    "-Dfile.encoding=UTF-8",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.nio", "java.io", "sun.nio.ch")),
]


# The compiler that starts fast.
_STARTS_FAST = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class ProcessServer:
    """`OwnServer` from Maven's artifacts, in a home folder of its own."""

    def __init__(
        self,
        java: str,
        jars: Path,
        home: Path,
        *,
        settings: Mapping[str, str] | None = None,
        disk_bytes: int = 0,
        starts_fast: bool = True,
    ) -> None:
        bolt, http = free_ports(2)
        self.server = Neo4jServer(f"bolt://127.0.0.1:{bolt}", "neo4j", secrets.token_hex(16), f"http://127.0.0.1:{http}/browser/")
        self._java = [java, "-cp", f"{jars}/*"]
        # Neo4j's own start script would read it from the settings.
        heap = (settings or {}).get("server.memory.heap.max_size", "512m")
        self._flags = [*FLAGS, f"-Xmx{heap}", *(_STARTS_FAST if starts_fast else ())]
        self._main = _main_class(jars)
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._disk = SmallDisk(home / "data", disk_bytes) if disk_bytes else None
        self._inside = self._disk.inside if self._disk else []
        self._write_configuration(
            SETTINGS
            | {
                "server.default_listen_address": "127.0.0.1",
                "server.bolt.listen_address": f"127.0.0.1:{bolt}",
                "server.http.listen_address": f"127.0.0.1:{http}",
            }
            | dict(settings or {})
        )

    def start(self) -> None:
        """As `OwnServer.start`."""
        if self._process is None:
            self._admin("dbms", "set-initial-password", self.server.password)
        folders = [f"--home-dir={self._home}", f"--config-dir={self._home}/conf"]
        command = [*_tied_to_us(), *self._java, *self._flags, self._main, *folders]
        with (self._home / "console.log").open("ab") as console:
            self._process = subprocess.Popen(self._inside + command, stdout=console, stderr=console)
        wait_until_ready(self.server, lambda: self._running.poll() is None, self._tail)

    def configure(self, settings: Mapping[str, str]) -> None:
        """As `OwnServer.configure`."""
        with (self._home / "conf" / "neo4j.conf").open("a") as configuration:
            configuration.writelines(f"{name}={value}\n" for name, value in settings.items())

    def stop(self) -> None:
        """As `OwnServer.stop`."""
        self._signal(signal.SIGTERM)
        self._running.wait(60)

    def kill(self) -> None:
        """As `OwnServer.kill`."""
        self._signal(signal.SIGKILL)
        self._running.wait()

    def pause(self) -> None:
        """As `OwnServer.pause`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """As `OwnServer.resume`."""
        self._signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """As `OwnServer.cpu_s`."""
        fields = Path(f"/proc/{self._running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log(self, name: str) -> str:
        """As `OwnServer.log`."""
        path = self._home / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def fill_disk(self, leaving: int) -> None:
        """As `OwnServer.fill_disk`."""
        self._small_disk.fill(leaving)

    def free_disk(self) -> None:
        """As `OwnServer.free_disk`."""
        self._small_disk.free()

    def close(self) -> None:
        """As `OwnServer.close`."""
        if self._process and self._process.poll() is None:
            self.kill()
        if self._disk:
            self._disk.close()
        shutil.rmtree(self._home, ignore_errors=True)

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started yet"
        return self._process

    @property
    def _small_disk(self) -> SmallDisk:
        assert self._disk is not None, "made without disk_bytes"
        return self._disk

    def _signal(self, number: int) -> None:
        self._running.send_signal(number)

    def _tail(self) -> str:
        return (self._home / "console.log").read_text(errors="replace") + self.log("neo4j")

    def _write_configuration(self, settings: Mapping[str, str]) -> None:
        folder = self._home / "conf"
        folder.mkdir(parents=True)
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (folder / "neo4j.conf").write_text("".join(lines))

    def _admin(self, *arguments: str) -> None:
        """Runs `neo4j-admin`."""
        environment = os.environ | {"NEO4J_HOME": str(self._home), "NEO4J_CONF": str(self._home / "conf")}
        command = [*self._inside, *self._java, "org.neo4j.cli.AdminTool", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise DidNotStart(f"neo4j-admin {arguments[0]} ends with {done.returncode}: {done.stdout}{done.stderr}")


def _main_class(jars: Path) -> str:
    """What bin/neo4j starts."""
    (version,) = (jar.stem.removeprefix("neo4j-server-") for jar in jars.glob("neo4j-server-[0-9]*.jar"))
    return "org.neo4j.server." + ("CommunityEntryPoint" if version.startswith("5.") else "Neo4jCommunity")


def _tied_to_us() -> list[str]:
    """A prefix with which a command ends when this process does, however it ends (Linux)."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
