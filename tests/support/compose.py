"""Runs `docker compose` as a user does, and speaks with what it started."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import neo4j
from support.neo4j.server import free_ports

ROOT = Path(__file__).parents[2]
LOCAL_NEO4J = "neo4j:5.26-community"


@dataclass(frozen=True, slots=True)
class Product:
    """A compose project.

    Attributes:
        project: its name.
        secrets: folder of its secrets.
        variables: what its settings are, over the environment.
    """

    project: str
    secrets: Path
    variables: dict[str, str]

    def compose(self, *arguments: str) -> str:
        """What `docker compose` prints on standard output."""
        return output("docker", "compose", "--project-name", self.project, *arguments, variables=self.variables)

    def secret(self, name: str) -> str:
        return (self.secrets / name).read_text()

    def service(self, key: str) -> httpx2.Client:
        """A client of the service with the key `key`."""
        return httpx2.Client(
            base_url=f"http://127.0.0.1:{self.variables['NBCLIP_PORT']}",
            headers={"authorization": f"Bearer {self.secret(key + '_key')}"},
            timeout=60,
        )

    def query(self, cypher: str) -> list[dict]:
        """The rows that Neo4j's published port answers."""
        url = f"bolt://127.0.0.1:{self.variables['NEO4J_BOLT_PORT']}"
        with neo4j.GraphDatabase.driver(url, auth=("neo4j", self.secret("neo4j_password"))) as driver:
            return driver.execute_query(cypher, result_transformer_=neo4j.Result.data)

    def containers(self) -> dict[str, dict]:
        """`docker inspect` by name of the service."""
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in self.inspected()}

    def inspected(self, *services: str) -> list[dict]:
        """`docker inspect` of all containers of these services, or of every one."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return json.loads(output("docker", "inspect", *ids))


def output(*command: str, variables: dict[str, str] | None = None) -> str:
    """Standard output of a command; what it wrote is in the error if it fails."""
    environment = {**os.environ, **(variables or {})}
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500, check=False)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {finished.returncode}\n{finished.stdout}\n{finished.stderr}")
    return finished.stdout


@contextmanager
def running(folder: Path, say: Callable[[str], None]) -> Iterator[Product]:
    """Builds the images and starts a project; in the end nothing of it is left but the images."""
    product = settle(folder)
    product.variables["NEO4J_IMAGE"] = find_neo4j(product)
    say(f"Neo4j: {product.variables['NEO4J_IMAGE']}")
    try:
        say(f"built in {seconds(lambda: product.compose('build', 'kg-service')):.0f} s")
        say(f"up and healthy in {seconds(lambda: product.compose('up', '--detach', '--wait')):.0f} s")
        say(product.compose("ps", "--all"))
        yield product
    except RuntimeError:
        say(product.compose("logs", "--no-color", "--tail", "50"))
        raise
    finally:
        product.compose("--profile", "*", "down", "--volumes", "--remove-orphans")


def settle(folder: Path) -> Product:
    """A project with secrets and ports of its own."""
    secrets = folder / "secrets"
    output("sh", "deploy/secrets.sh", str(secrets))
    service, http, bolt = free_ports(3)
    variables = {
        "NBCLIP_SECRETS": str(secrets),
        "NBCLIP_PORT": str(service),
        "NEO4J_HTTP_PORT": str(http),
        "NEO4J_BOLT_PORT": str(bolt),
    }
    return Product(f"nbclip-test-{os.getpid()}-{folder.name}", secrets, variables)


def find_neo4j(product: Product) -> str:
    """The pinned image; where it can't be pulled, a local one of the same line."""
    pinned = json.loads(product.compose("config", "--format", "json"))["services"]["neo4j"]["image"]
    for command in (("image", "inspect", pinned), ("pull", "--quiet", pinned)):
        if subprocess.run(["docker", *command], capture_output=True, check=False).returncode == 0:
            return pinned
    output("docker", "image", "inspect", LOCAL_NEO4J)
    return LOCAL_NEO4J


def is_confined(container: dict) -> bool:
    """Whether an inspected container may write nowhere but in its volumes, is not root, and has limits and no open port."""
    host, user = container["HostConfig"], container["Config"]["User"]
    bound = [binding["HostIp"] for bindings in host["PortBindings"].values() for binding in bindings]
    return bool(
        host["ReadonlyRootfs"]
        and host["CapDrop"] == ["ALL"]
        and not host["Privileged"]
        and int(user.partition(":")[0]) > 0
        and 0 < host["Memory"] <= 4 << 30
        and host["PidsLimit"] > 0
        and set(bound) <= {"127.0.0.1"}
    )


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.monotonic()
    work()
    return time.monotonic() - begun
