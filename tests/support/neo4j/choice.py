"""Which of several ways to a server is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Unobtainable(Exception):
    """Why one way to a server can't be gone, in one line."""


class NoServer(Exception):
    """No way to a server can be gone."""


@dataclass(frozen=True, slots=True)
class Choice(Generic[Found]):
    """The way that was found, and why not those before it."""

    way: str
    found: Found
    refused: Mapping[str, str]

    def __str__(self) -> str:
        return "; ".join([self.way, *(f"no {way}: {reason}" for way, reason in self.refused.items())])


def choose(ways: Mapping[str, Callable[[], Found]]) -> Choice[Found]:
    """The first way that can be gone; those after it are not tried.

    Raises:
        NoServer: none can; the message names each, and why not.
    """
    refused: dict[str, str] = {}
    for way, find in ways.items():
        try:
            return Choice(way, find(), refused)
        except Unobtainable as reason:
            refused[way] = str(reason)
    tried = "\n".join(f"  - {way}: {reason}" for way, reason in refused.items())
    raise NoServer(f"the tests need a Neo4j 5 server; any of these will do:\n{tried}")
