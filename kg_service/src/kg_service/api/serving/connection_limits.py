"""How many connections are open, and which are one too many."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import structlog

from kg_service.config import Settings

_RESERVE = 256
"""Descriptors that are not for connections: graph store, vocabulary, arrays of snapshots, bodies on their way to the disk."""
_PARTING_AT_MOST = 64
_SAYS_EVERY_S = 10.0


@dataclass
class ConnectionLimits:
    """What all connections of a server share.

    Attributes:
        settings: what is set for each.
        most: connections that may be open.
        refused: connections that were one too many.
        parting: of these, connections that are still read so that the client finds its answer.
    """

    settings: Settings
    most: int
    refused: int = 0
    parting: int = 0
    _said_at: float | None = None

    def refuse(self) -> bool:
        """Counts a connection that is one too many, and the log says so at most every ten seconds.

        Returns:
            Whether it counts as parting: it is to be read for a while.
        """
        self.refused += 1
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= _SAYS_EVERY_S:
            self._said_at = now
            structlog.get_logger().warning("too many connections", open=self.most, refused=self.refused)
        if self.parting >= _PARTING_AT_MOST:
            return False
        self.parting += 1
        return True


def connection_limits(settings: Settings) -> ConnectionLimits:
    """As set, and never so many connections that no descriptor is left for files."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.max_connections
    if descriptors != resource.RLIM_INFINITY:
        most = min(most, max(descriptors - _RESERVE, descriptors // 4))
    return ConnectionLimits(settings, most)
