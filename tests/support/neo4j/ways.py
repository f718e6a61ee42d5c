"""The ways to a server, in the order in which they are tried: one that is given, a container, a process of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from support.neo4j.artifacts import find_artifacts, find_java
from support.neo4j.choice import Unobtainable
from support.neo4j.container import ContainerServer, find_image
from support.neo4j.database import claim
from support.neo4j.process import ProcessServer
from support.neo4j.server import Neo4jServer, OwnServer

IMAGE = "neo4j:5.26-community"

GIVEN, CONTAINER, PROCESS = "NEO4J_URI", "Docker", "Java and Maven"

Serve = Callable[[Path], AbstractContextManager[Neo4jServer]]


class Make(Protocol):
    """Makes a server that uses this folder; it is to be started. One that does not start fast is the faster one later."""

    def __call__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, disk_bytes: int = 0, starts_fast: bool = True
    ) -> OwnServer: ...


def ways_to_own(environment: Mapping[str, str]) -> dict[str, Callable[[], Make]]:
    """Ways to servers that a test may stop and kill. Who names an image wants that one and no other server."""
    image = environment.get("NEO4J_IMAGE")

    def in_container() -> Make:
        found = find_image(image or IMAGE)
        return lambda folder, **options: ContainerServer(found, **options)

    def as_process() -> Make:
        java, jars = find_java(), find_artifacts()
        return lambda folder, **options: ProcessServer(java, jars, folder, **options)

    return {CONTAINER: in_container} if image else {CONTAINER: in_container, PROCESS: as_process}


def ways_to_any(environment: Mapping[str, str]) -> dict[str, Callable[[], Serve]]:
    """Ways to a server for tests that need no more than an empty database."""

    def given() -> Serve:
        if "NEO4J_URI" not in environment:
            raise Unobtainable("not set; with NEO4J_USER and NEO4J_PASSWORD it names an empty Neo4j 5 database")
        user, password = environment.get("NEO4J_USER", "neo4j"), environment.get("NEO4J_PASSWORD", "")
        return lambda folder: _claimed(Neo4jServer(environment["NEO4J_URI"], user, password))

    def serving(find: Callable[[], Make]) -> Callable[[], Serve]:
        def found() -> Serve:
            make = find()
            return lambda folder: _started(make(folder))

        return found

    return {GIVEN: given} | {way: serving(find) for way, find in ways_to_own(environment).items()}


@contextmanager
def _claimed(server: Neo4jServer) -> Iterator[Neo4jServer]:
    claim(server)
    yield server


@contextmanager
def _started(own: OwnServer) -> Iterator[Neo4jServer]:
    with closing(own):
        own.start()
        yield own.server
