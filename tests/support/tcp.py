"""A running service by raw TCP: what is sent is what is written here, byte by byte."""

from __future__ import annotations

import socket
from contextlib import closing

from support.service import Service

POST = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-type: %s\r\n"
"""A head that framing and an empty line are to follow, of a path and a media type."""


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def connect(service: Service) -> closing[socket.socket]:
    """A connection to a service that listens on a port."""
    host, port = service.url.removeprefix("http://").split(":")
    return closing(socket.create_connection((host, int(port)), 30))


def read_to_the_end(connection: socket.socket) -> bytes:
    """What comes until the server ends; a reset fails."""
    received = b""
    while some := connection.recv(1 << 16):
        received += some
    return received
