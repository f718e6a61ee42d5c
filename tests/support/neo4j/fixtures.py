"""A real Neo4j for tests: `empty_neo4j` to write to, `make_own_neo4j` for one to stop, kill and freeze."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, suppress

import pytest
from neo4j.exceptions import DriverError, Neo4jError
from support.neo4j.artifacts import NEWEST_POM, find_artifacts, find_java_of_newest, newest_can_be_had
from support.neo4j.choice import NoServer, Unobtainable, choose
from support.neo4j.database import ForeignDatabase, wipe
from support.neo4j.process import ProcessServer
from support.neo4j.server import DidNotStart
from support.neo4j.ways import ways_to_any, ways_to_own

USED = pytest.StashKey[list[str]]()
SERVERS = ["neo4j_server", *(["newest_neo4j"] if newest_can_be_had() else [])]
"""Fixtures with a server for the suite of all stores: the newest release where a Java is there that it runs on."""


@pytest.fixture(scope="session")
def neo4j_server(request, tmp_path_factory):
    """One server for the whole run; `empty_neo4j` is what a test wants."""
    with ExitStack() as stack:
        try:
            choice = choose(ways_to_any(os.environ))
            begun = time.monotonic()
            server = stack.enter_context(choice.found(tmp_path_factory.mktemp("neo4j") / "server"))
        except (NoServer, ForeignDatabase, DidNotStart, DriverError, Neo4jError) as error:
            raise pytest.fail.Exception(f"no Neo4j: {error}", pytrace=False) from None
        used = request.config.stash.setdefault(USED, [])
        used.append(f"{server.uri}, ready in {time.monotonic() - begun:.1f} s, by {choice}")
        yield server


@pytest.fixture(scope="session")
def newest_neo4j(request, tmp_path_factory):
    """As `neo4j_server`, of the newest release."""
    java = find_java_of_newest()
    assert java, "no Java for the newest Neo4j"
    with closing(ProcessServer(java, find_artifacts(NEWEST_POM), tmp_path_factory.mktemp("newest") / "server")) as own:
        own.start()
        request.config.stash.setdefault(USED, []).append(f"{own.server.uri}, the newest release, by {java}")
        yield own.server


@pytest.fixture
def empty_neo4j(neo4j_server):
    """The server, its database emptied: no node, edge, constraint or index."""
    wipe(neo4j_server)
    return neo4j_server


@pytest.fixture(scope="session")
def make_own_neo4j():
    """Makes servers that a test may stop and kill: `make_own_neo4j(folder, settings=…, disk_bytes=…)`, then `start()`."""
    try:
        make = choose(ways_to_own(os.environ)).found
    except NoServer as error:
        raise pytest.fail.Exception(f"no server to stop and kill: {error}", pytrace=False) from None
    with ExitStack() as stack:
        yield lambda folder, **options: stack.enter_context(closing(make(folder, **options)))


def pytest_collection_finish(session):
    """Fetches the server before any test, since that may take longer than a test may."""
    used = {name for item in session.items for name in item.fixturenames if not session.config.option.collectonly}
    for fixture, ways in (("neo4j_server", ways_to_any), ("make_own_neo4j", ways_to_own)):
        if fixture in used:
            # Without one, the tests that need it fail.
            with suppress(NoServer):
                choose(ways(os.environ))
    if any("newest_neo4j" in item.name for item in session.items) and not session.config.option.collectonly:
        with suppress(Unobtainable):
            find_artifacts(NEWEST_POM)


def pytest_terminal_summary(terminalreporter, config):
    """Which Neo4j the tests used, and why."""
    for line in config.stash.get(USED, []):
        terminalreporter.write_line(f"neo4j: {line}")
