"""Neo4j in a container."""

from __future__ import annotations

import gc
import io
import secrets
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Mapping
from contextlib import closing
from functools import cache

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from support.neo4j.choice import Unobtainable
from support.neo4j.disk import FILL, FREE
from support.neo4j.server import SETTINGS, Neo4jServer, free_ports, wait_until_ready
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

_OF_CONTAINERS = {
    "server.memory.heap.max_size": "512m",
    # An image may have settings of its own that are among ours.
    "server.config.strict_validation.enabled": "false",
}
_CONFIGURATION = "/var/lib/neo4j/conf/neo4j.conf"
# Again and again for a while: the engine may be busy, or still be making what was asked for last.
_SWEEP = """
import contextlib, sys, time, docker
sys.stdin.read()
chosen = {"label": sys.argv[1]}
for _ in range(20):
    with contextlib.suppress(docker.errors.DockerException, OSError), contextlib.closing(docker.from_env()) as client:
        for container in client.containers.list(all=True, filters=chosen, ignore_removed=True):
            container.remove(force=True, v=True)
        for volume in client.volumes.list(filters=chosen):
            volume.remove(force=True)
    time.sleep(0.5)
"""


def find_image(image: str) -> str:
    """The image, pulled if it is not there.

    Raises:
        Unobtainable: no Docker Engine answers, or the image can't be pulled.
    """
    with warnings.catch_warnings():
        # docker-py leaves sockets open that it could not connect.
        warnings.simplefilter("ignore", ResourceWarning)
        missing = _missing(image)
        gc.collect()
    if missing:
        raise Unobtainable(missing)
    return image


def _missing(image: str) -> str:
    """Why the image can't be had; empty: it is there."""
    try:
        with closing(DockerClient().client) as client:
            client.ping()
            try:
                client.images.get(image)
            except ImageNotFound:
                client.images.pull(image)
    except APIError as error:
        return f"no image {image}: {error.explanation}"
    except DockerException as error:
        return f"no Engine answers: {error}"
    return ""


class ContainerServer:
    """`OwnServer` in a container of an image; its ports are fixed, so that they outlive a restart."""

    def __init__(
        self, image: str, *, settings: Mapping[str, str] | None = None, disk_bytes: int = 0, starts_fast: bool = True
    ) -> None:
        _sweep_when_we_are_gone()
        password = secrets.token_hex(16)
        bolt, http = free_ports(2)
        chosen = SETTINGS | _OF_CONTAINERS | dict(settings or {})
        self._container = DockerContainer(image, env={_variable(name): value for name, value in chosen.items()})
        if starts_fast:
            self._container.with_env("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        self._container.with_env("NEO4J_AUTH", f"neo4j/{password}").with_bind_ports(7687, bolt).with_bind_ports(7474, http)
        self._disk = SmallVolume(image, disk_bytes) if disk_bytes else None
        if self._disk:
            self._container.with_volume_mapping(self._disk.name, "/data", "rw")
        self._container.start()
        host, bolt, http = self._container.get_container_host_ip(), *map(self._container.get_exposed_port, (7687, 7474))
        self.server = Neo4jServer(f"bolt://{host}:{bolt}", "neo4j", password, f"http://{host}:{http}/browser/")

    def start(self) -> None:
        """As `OwnServer.start`."""
        self._handle.start()
        wait_until_ready(self.server, self._runs, lambda: self._handle.logs(tail=50).decode(errors="replace") + self.log("neo4j"))

    def configure(self, settings: Mapping[str, str]) -> None:
        """As `OwnServer.configure`."""
        content = self._read(_CONFIGURATION) + "".join(f"\n{name}={value}" for name, value in settings.items()) + "\n"
        folder, _, name = _CONFIGURATION.rpartition("/")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as files:
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(content.encode()), 0o644
            files.addfile(file, io.BytesIO(content.encode()))
        self._handle.put_archive(folder, archive.getvalue())

    def stop(self) -> None:
        """As `OwnServer.stop`."""
        self._handle.stop(timeout=60)

    def kill(self) -> None:
        """As `OwnServer.kill`."""
        self._handle.kill()
        self._handle.wait()

    def pause(self) -> None:
        """As `OwnServer.pause`."""
        self._handle.pause()

    def resume(self) -> None:
        """As `OwnServer.resume`."""
        self._handle.unpause()

    def cpu_s(self) -> float:
        """As `OwnServer.cpu_s`."""
        return self._handle.stats(stream=False)["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9

    def log(self, name: str) -> str:
        """As `OwnServer.log`."""
        try:
            return self._read(f"/logs/{name}.log")
        except NotFound:
            return ""

    def fill_disk(self, leaving: int) -> None:
        """As `OwnServer.fill_disk`."""
        self._small_disk.fill(leaving)

    def free_disk(self) -> None:
        """As `OwnServer.free_disk`."""
        self._small_disk.free()

    def close(self) -> None:
        """As `OwnServer.close`."""
        self._container.stop()
        if self._disk:
            self._disk.close()

    def _read(self, path: str) -> str:
        chunks, _ = self._handle.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            content = archive.extractfile(path.rpartition("/")[2])
            assert content is not None
            return content.read().decode(errors="replace")

    @property
    def _handle(self) -> Container:
        return self._container.get_wrapped_container()

    @property
    def _small_disk(self) -> SmallVolume:
        assert self._disk is not None, "made without disk_bytes"
        return self._disk

    def _runs(self) -> bool:
        self._handle.reload()
        return self._handle.status == "running"


class SmallVolume:
    """A tmpfs as a volume, and a container that keeps it mounted while the server is down."""

    def __init__(self, image: str, size: int) -> None:
        self._docker = DockerClient().client
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size},mode=1777"}
        self._volume = self._docker.volumes.create(driver_opts=options, labels={LABEL_SESSION_ID: SESSION_ID})
        self.name = self._volume.name
        self._holder = self._docker.containers.run(
            image,
            ["infinity"],
            entrypoint="sleep",
            volumes=[f"{self.name}:/disk"],
            labels={LABEL_SESSION_ID: SESSION_ID},
            detach=True,
        )

    def fill(self, leaving: int) -> None:
        """Leaves so many bytes free."""
        self._run(FILL, str(leaving))

    def free(self) -> None:
        """Takes back `fill`."""
        self._run(FREE)

    def close(self) -> None:
        """Removes both."""
        self._holder.remove(force=True, v=True)
        self._volume.remove(force=True)
        self._docker.close()

    def _run(self, script: str, *arguments: str) -> None:
        code, said = self._holder.exec_run(["sh", "-c", script, "sh", "/disk", *arguments], user="root")
        assert code == 0, said


def _variable(setting: str) -> str:
    """The variable that the image takes for a setting."""
    return "NEO4J_" + setting.replace("_", "__").replace(".", "_")


@cache
def _sweep_when_we_are_gone() -> subprocess.Popen[bytes]:
    """Removes our containers once this process ends, however it ends.

    As testcontainers' Ryuk, which is one more image and needs the engine's socket inside a container.
    """
    testcontainers_config.ryuk_disabled = True
    # Ctrl-C is for its parent; its standard input ends with that.
    return subprocess.Popen(
        [sys.executable, "-c", _SWEEP, f"{LABEL_SESSION_ID}={SESSION_ID}"], stdin=subprocess.PIPE, start_new_session=True
    )
