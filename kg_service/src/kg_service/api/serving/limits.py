"""Limits on a request before any work: host, body, work places, size of what is asked."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from fastapi import Request
from nbclip.errors import Busy, LimitExceeded
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kg_service.api.paths import path_in_app
from kg_service.api.problems import BodyTimeout, BodyTooLarge, InvalidHost
from kg_service.api.serving.connection import until_taken
from kg_service.config import Settings

BULK = ("/v1/jobs/ingest", "/jobs/ingest")
"""The one route whose body may be long."""
_UNCOUNTED = 1 << 16
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?")


class Gate:
    """ASGI middleware: refuses requests to another host, and bodies that are too large or too slow, counted as they arrive.

    A request lasts until its answer is taken, so that places bound what waits to be sent.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._bodies = Places(settings.max_concurrent * settings.max_body_bytes, "large bodies")
        self._usual = Bounds(settings.max_body_bytes, settings.body_timeout_s, settings.body_timeout_s)
        self._bulk = Bounds(
            settings.max_job_bytes, settings.job_timeout_s, settings.job_pause_s, in_memory=False, setting="KG_MAX_JOB_BYTES"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes what is within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        check_host(hosts[0] if len(hosts) == 1 else "", self._settings.trusted_hosts)
        bounds = self._bulk if scope["method"] == "POST" and path_in_app(scope) in BULK else self._usual
        check_body_bytes(_declared_bytes(headers.get("content-length", "")), bounds)
        with ExitStack() as held:
            hold = partial(_hold, held, self._bodies) if bounds.in_memory else None
            await self._app(scope, bounded(receive, bounds, hold), until_taken(send))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a body may take.

    Attributes:
        limit: bytes.
        timeout_s: seconds.
        pause_s: seconds without a byte.
        in_memory: whether it is held until it is whole: a bulk ingest goes to the disk as it comes.
        setting: what sets the limit.
    """

    limit: int
    timeout_s: float
    pause_s: float
    in_memory: bool = True
    setting: str = "KG_MAX_BODY_BYTES"


def _hold(held: ExitStack, bodies: Places, count: int) -> None:
    held.enter_context(bodies.take(count))


def _declared_bytes(header: str) -> int:
    return int(header) if header.isdecimal() and len(header) < 20 else 0


def check_host(header: str, trusted: Sequence[str]) -> None:
    """Raises InvalidHost if the Host header names none of the patterns; so a page of another site can't reach a local service."""
    parts = _HOST.fullmatch(header.lower())
    if "*" not in trusted and not (parts and any(fnmatchcase(parts[1], pattern.lower()) for pattern in _escaped(trusted))):
        raise InvalidHost(f"Host {header!r:.80} is not served", hint="add the name to KG_TRUSTED_HOSTS")


def _escaped(patterns: Sequence[str]) -> Iterator[str]:
    """`*` alone is special: the brackets of an IPv6 address are not."""
    return (pattern.replace("[", "[[]") for pattern in patterns)


def check_body_bytes(count: int, bounds: Bounds) -> None:
    """Raises BodyTooLarge over the limit."""
    if count > bounds.limit:
        hint = f"send less at once; the limit is {bounds.setting}={bounds.limit}"
        raise BodyTooLarge(f"the body has more than {bounds.limit} bytes", hint=hint)


def bounded(receive: Receive, bounds: Bounds, hold: Callable[[int], None] | None = None) -> Receive:
    """`receive` that raises BodyTooLarge or BodyTimeout, or what `hold` raises.

    Time counts from the first call to the end of the body, a pause from each call. `hold` is told of bytes to be held in memory,
    but for the first 64 KiB: every connection may have as much.
    """
    taken = counted = 0
    deadline: float | None = None
    complete = False

    async def receive_bounded() -> Message:
        nonlocal taken, counted, deadline, complete
        if complete:
            return await receive()
        now = asyncio.get_running_loop().time()
        deadline = deadline or now + bounds.timeout_s
        try:
            async with asyncio.timeout_at(min(deadline, now + bounds.pause_s)):
                message = await receive()
        except TimeoutError as error:
            whole = now + bounds.pause_s >= deadline
            what = f"no whole body in {bounds.timeout_s:g} s" if whole else f"nothing of the body in {bounds.pause_s:g} s"
            raise BodyTimeout(what, hint="send it faster, or less at once") from error
        taken += len(message.get("body", b""))
        check_body_bytes(taken, bounds)
        if hold and taken > max(counted, _UNCOUNTED):
            hold(taken - max(counted, _UNCOUNTED))
            counted = taken
        complete = not message.get("more_body", False)
        return message

    return receive_bounded


class Places:
    """A number of places that work takes and gives back; who finds too few free is sent away at once."""

    def __init__(self, capacity: int, of: str) -> None:
        self.capacity = capacity
        self._free = capacity
        self._of = of
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are held."""
        return self.capacity - self._free

    @contextmanager
    def take(self, share: int = 1) -> Iterator[None]:
        """Holds `share` places.

        Raises:
            Busy: so many are not free.
        """
        with self._lock:
            if share > self._free:
                raise Busy(f"too many {self._of} in work", hint="try again in a second")
            self._free -= share
        try:
            yield
        finally:
            with self._lock:
                self._free += share


async def work_place(request: Request) -> AsyncIterator[None]:
    """A dependency that holds a place from when the request's body is there until the client has taken the answer, or is gone.

    A body that drips holds none: so many of them keep nobody from work.
    """
    await request.body()
    places: Places = request.app.state.places
    with places.take():
        yield


async def upload_place(request: Request) -> AsyncIterator[None]:
    """A dependency that holds one of the few places of long bodies: short requests need none of them."""
    places: Places = request.app.state.uploads
    with places.take():
        yield


async def graph_place(request: Request) -> AsyncIterator[None]:
    """A dependency that holds one of the few places of those who wait for the graph store: targets need none of them."""
    places: Places = request.app.state.graph_places
    with places.take():
        yield


def check_items(body: Any, field: str, limit: int, setting: str = "KG_MAX_ITEMS") -> None:
    """Raises LimitExceeded if the list `field` of an unchecked body is too long."""
    count = _length(body, field)
    if count > limit:
        hint = f"send them in parts; the limit is {setting}={limit}"
        raise LimitExceeded(f"{count} {field}, at most {limit} at once", hint=hint)


def check_matrix(body: Any, settings: Settings) -> None:
    """Raises LimitExceeded if the matrix that an unchecked body of `POST /v1/targets` asks for is too large."""
    rows = _length(body, "image_ids")
    columns = _length(body, "column_ids") or rows
    for count, limit, what, setting in (
        (rows, settings.max_rows, "rows (image_ids)", "KG_MAX_ROWS"),
        (columns, settings.max_columns, "columns (column_ids)", "KG_MAX_COLUMNS"),
        (rows * columns, settings.max_cells, "cells (rows × columns)", "KG_MAX_CELLS"),
    ):
        if count > limit:
            hint = f"ask for each rank's rows separately; the limit is {setting}={limit}"
            raise LimitExceeded(f"{count} {what}, at most {limit}", hint=hint)


def _length(body: Any, field: str) -> int:
    value = body.get(field) if isinstance(body, dict) else None
    return len(value) if isinstance(value, list) else 0
