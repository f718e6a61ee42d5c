"""What a test gets of a Neo4j server, and what it can do to one of its own."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Protocol

from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

READY_WITHIN_S = 90
SETTINGS = {
    "dbms.usage_report.enabled": "false",
    "client.allow_telemetry": "false",
    "server.memory.pagecache.size": "64m",
    # By default 256 MB for each of two databases.
    "db.tx_log.preallocate": "false",
    # By default a stop waits twice 5 s for connections that may yet come.
    "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
}


@dataclass(frozen=True, slots=True)
class Neo4jServer:
    """A running server: `uri` speaks Bolt, `http` is Neo4j Browser (empty if it is not known)."""

    uri: str
    user: str
    password: str = field(repr=False)
    http: str = ""

    def driver(self, **options):
        """A driver that gives up at once: who waits for a server asks again."""
        return GraphDatabase.driver(self.uri, auth=(self.user, self.password), max_transaction_retry_time=0, **options)


class OwnServer(Protocol):
    """A server that a test may stop, kill and freeze; address, password and data are the same at every start."""

    server: Neo4jServer

    def start(self) -> None:
        """Returns once a query is answered."""

    def configure(self, settings: Mapping[str, str]) -> None:
        """Settings from the next start on, beside those that it has; only while it is stopped."""

    def stop(self) -> None:
        """SIGTERM, to the end of the process."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """Stops the process where it stands; its connections stay open."""

    def resume(self) -> None:
        """Goes on after `pause`."""

    def cpu_s(self) -> float:
        """CPU seconds of the process since it was started last; only while it runs."""

    def log(self, name: str) -> str:
        """A log: neo4j, debug, security, query or http; empty before the first start."""

    def fill_disk(self, leaving: int) -> None:
        """Leaves so many bytes free on a disk of the server's own."""

    def free_disk(self) -> None:
        """Takes back `fill_disk`; possible while the server is down."""

    def close(self) -> None:
        """Ends it and removes its data."""


class DidNotStart(Exception):
    """A server that gave no answer in time, with the end of its log."""


def wait_until_ready(server: Neo4jServer, runs: Callable[[], bool], log: Callable[[], str]) -> None:
    """Returns once the server answers a query.

    Raises:
        DidNotStart: it ended, or did not answer in `READY_WITHIN_S`.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    with server.driver(connection_timeout=5) as driver:
        while True:
            try:
                driver.execute_query("RETURN 1")
                return
            except (DriverError, Neo4jError) as error:
                ended = not runs()
                if ended or time.monotonic() > deadline:
                    what = "ended" if ended else f"gave no answer in {READY_WITHIN_S} s: {error}"
                    raise DidNotStart(f"Neo4j {what}; its log ends with\n{log()[-2_000:]}") from None
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
