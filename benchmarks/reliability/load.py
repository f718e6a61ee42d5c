"""Clients of a running service: many that ask for targets, one that ingests, one that publishes."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from nbclip.codec import MEDIA_TYPE

KEY = os.environ.get("NBCLIP_SERVICE_KEY", "")
_REFERENCES = 8
"""Lists of ids that all clients ask for again and again."""
_EVERY = 4
_PIECE_BYTES = 16 << 10
_PAUSE_S = 0.002
_TIMEOUT_S = 60.0


@dataclass
class Tally:
    """What the clients have seen; `latencies` and the counts of this second are taken by `turn`."""

    latencies: list[float] = field(default_factory=list)
    requests: int = 0
    busy: int = 0
    errors: int = 0
    messages: list[str] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)
    repeated: int = 0
    different: int = 0
    jobs: int = 0
    rows: int = 0
    publications: int = 0

    def fail(self, what: str) -> None:
        """Counts an error; the first ones are kept."""
        self.errors += 1
        if len(self.messages) < 20:
            self.messages.append(what)

    def turn(self) -> tuple[list[float], int, int, int]:
        """Latencies in seconds, requests, busy answers and errors since the last turn."""
        seen = self.latencies, self.requests, self.busy, self.errors
        self.latencies, self.requests, self.busy, self.errors = [], 0, 0, 0
        return seen


@dataclass(frozen=True)
class Load:
    """How a service at `url` is asked: pinned to `snapshot`, whose images are `ids`, N at once; captions are ingested."""

    url: str
    snapshot: str
    ids: Sequence[str]
    captions: Sequence[str]
    at_once: int
    clients: int
    slow: int
    publish_every_s: float
    seed: int

    def tasks(self, tally: Tally) -> list[Coroutine[Any, Any, None]]:
        """All of them; each goes on until it is cancelled."""
        asking = [self._ask(tally, number, slow=number < self.slow) for number in range(self.clients)]
        return [*asking, self._ingest(tally), self._publish(tally)]

    def _reference(self, number: int) -> list[str]:
        return random.Random(self.seed + number).sample(self.ids, self.at_once)

    async def _ask(self, tally: Tally, number: int, *, slow: bool) -> None:
        """Random ids of the pinned snapshot, every fourth time a list that others have asked for, or the current snapshot."""
        chance = random.Random(1_000 * self.seed + number)
        async with _client(self.url) as client:
            turn = 0
            while True:
                turn += 1
                reference = chance.randrange(_REFERENCES) if turn % _EVERY == 0 else None
                ids = chance.sample(self.ids, self.at_once) if reference is None else self._reference(reference)
                snapshot = None if turn % _EVERY == 2 else self.snapshot
                body = {"image_ids": ids, "snapshot": snapshot, "output": "similarity", "on_unknown": "flag"}
                await self._take(client, tally, body, reference, slow=slow)

    async def _take(
        self, client: httpx2.AsyncClient, tally: Tally, body: dict[str, Any], reference: int | None, *, slow: bool
    ) -> None:
        begun = time.perf_counter()
        try:
            async with client.stream("POST", "/targets", json=body) as response:
                content = await _read(response, slow=slow)
        except httpx2.HTTPError as error:
            tally.requests += 1
            tally.fail(f"POST /targets: {type(error).__name__} {error}")
            return
        tally.requests += 1
        if await _waited(response, tally):
            return
        if response.status_code != 200:
            tally.fail(f"POST /targets: {response.status_code} {content[:200]!r}")
            return
        if not slow:
            tally.latencies.append(time.perf_counter() - begun)
        if reference is not None:
            digest = hashlib.sha256(content).hexdigest()
            tally.repeated += 1
            tally.different += tally.digests.setdefault(reference, digest) != digest

    async def _ingest(self, tally: Tally) -> None:
        """The same images again and again, each time with other captions: the graph changes and does not grow."""
        async with _client(self.url) as client:
            turn = 0
            while True:
                turn += 1
                body, headers = self._captions_csv(turn), {"content-type": "text/csv"}
                job = await _json(
                    client, tally, "POST", "/jobs/ingest?on_conflict=replace&split=train", content=body, headers=headers
                )
                while job and job["state"] in {"queued", "running"}:
                    await asyncio.sleep(1)
                    job = await _json(client, tally, "GET", f"/jobs/{job['id']}") or job
                if job and job["state"] == "done":
                    tally.jobs, tally.rows = tally.jobs + 1, tally.rows + job["rows"]
                elif job:
                    tally.fail(f"job {job['state']}: {job['error']}")
                else:
                    await asyncio.sleep(1)

    def _captions_csv(self, turn: int) -> bytes:
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["image_id", "caption"])
        count = len(self.captions)
        rows.writerows(
            (f"soak-{number:05}", f"Turn {turn} of {self.seed}. {self.captions[(number + turn) % count]}")
            for number in range(count)
        )
        return text.getvalue().encode()

    async def _publish(self, tally: Tally) -> None:
        async with _client(self.url) as client:
            while True:
                await asyncio.sleep(self.publish_every_s)
                if await _json(client, tally, "POST", "/snapshots", json={"split": "train"}):
                    tally.publications += 1


async def run_for(seconds: float, tasks: Sequence[Coroutine[Any, Any, None]], each_second: Callable[[float], None]) -> None:
    """Lets the clients go on for so long; calls `each_second` with the seconds since the start.

    Raises:
        Exception: what a client raised first.
    """
    running, begun = [asyncio.create_task(task) for task in tasks], time.monotonic()
    try:
        for turn in range(1, int(seconds) + 1):
            done, _ = await asyncio.wait(
                running, timeout=max(0.0, begun + turn - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
            each_second(time.monotonic() - begun)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"accept": MEDIA_TYPE} | ({"authorization": f"Bearer {KEY}"} if KEY else {})
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_S) as client:
        yield client


async def _read(response: httpx2.Response, *, slow: bool) -> bytes:
    pieces = []
    async for piece in response.aiter_raw(_PIECE_BYTES if slow else None):
        pieces.append(piece)
        if slow:
            await asyncio.sleep(_PAUSE_S)
    return b"".join(pieces)


async def _waited(response: httpx2.Response, tally: Tally) -> bool:
    """Whether the service said that it can't now, and when it can: that is waited for."""
    after = response.headers.get("retry-after", "")
    if response.status_code not in {429, 503} or not after.isdigit():
        return False
    tally.busy += 1
    await asyncio.sleep(float(after))
    return True


async def _json(client: httpx2.AsyncClient, tally: Tally, method: str, path: str, **sent: Any) -> dict[str, Any] | None:
    try:
        response = await client.request(method, path, **({"headers": {}} | sent))
    except httpx2.HTTPError as error:
        tally.fail(f"{method} {path}: {type(error).__name__} {error}")
        return None
    if await _waited(response, tally):
        return None
    if response.status_code not in {200, 201, 202}:
        tally.fail(f"{method} {path}: {response.status_code} {response.text[:200]}")
        return None
    found: dict[str, Any] = response.json()
    return found
