"""Loading a server's database while the server is down, by its own tool."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

from support.neo4j.container import ContainerServer
from support.neo4j.process import FLAGS, ProcessServer
from support.neo4j.server import OwnServer
from testcontainers.core.docker_client import DockerClient

# `bin/neo4j-admin`, which Maven's artifacts lack.
_ADMIN = """#!/bin/sh
export NEO4J_HOME="{home}" NEO4J_CONF="{home}/conf"
exec "{java}" {flags} -cp "{jars}/*" org.neo4j.cli.AdminTool "$@"
"""
_REPLACE = "--overwrite-destination=true"


def import_offline(server: OwnServer, export: Path, scratch: Path) -> str:
    """Runs an export's `import.sh` in place of what the database of a stopped server holds; returns what it says."""
    match server:
        case ProcessServer():
            return _in_process(server, export, scratch)
        case ContainerServer():
            return _in_container(server, export, scratch)
    raise TypeError(f"no way to import into {server}")


def _in_process(server: ProcessServer, export: Path, scratch: Path) -> str:
    java, _, jars = server._java
    admin = _written(scratch, home=server._home, java=java, jars=jars.removesuffix("/*"))
    done = subprocess.run(["sh", export / "import.sh", admin, _REPLACE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    return done.stdout


def _in_container(server: ContainerServer, export: Path, scratch: Path) -> str:
    home = "/var/lib/neo4j"
    admin = _written(scratch, home=home, java="java", jars=f"{home}/lib")
    container = server._handle
    with closing(DockerClient().client) as client:
        said = client.containers.run(
            container.image.id,
            ["sh", "/graph/import.sh", f"/tools/{admin.name}", _REPLACE],
            volumes_from=[container.id],
            volumes=[f"{export}:/graph:ro", f"{admin.parent}:/tools:ro"],
            remove=True,
        )
    return said.decode()


def _written(scratch: Path, **places: object) -> Path:
    folder = scratch / "tools"
    folder.mkdir()
    admin = folder / "neo4j-admin"
    admin.write_text(_ADMIN.format(flags=" ".join(FLAGS), **places))
    admin.chmod(0o755)
    return admin
