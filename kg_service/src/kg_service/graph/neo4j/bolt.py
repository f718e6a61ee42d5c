"""One Neo4j database over Bolt: managed transactions under a wall-clock limit, and the driver's errors as this project's.

The asynchronous driver runs on a thread of its own, since only there a call can be given up while the server is silent: a
stopped server holds a blocking socket for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

from nbclip.errors import InvalidInput, NBClipError, Unavailable
from neo4j import (
    READ_ACCESS,
    WRITE_ACCESS,
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    AsyncSession,
    AsyncTransaction,
    exceptions,
    unit_of_work,
)

from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph.neo4j.address import Address
from kg_service.graph.neo4j.diagnosis import diagnosis
from kg_service.graph.neo4j.explanations import MADE_BY_ANOTHER, explained, is_final

Answer = TypeVar("Answer")
Work = Callable[["Transaction"], Awaitable[Answer]]
Ask = Callable[..., Any]
"""Asks a query by its name and parameters; answers with its value, None if it has none."""


_CONNECT_S = 3.0
_CLOSE_S = 2.0
_NO_ANSWER = (
    exceptions.ServiceUnavailable,
    exceptions.SessionExpired,
    exceptions.ConnectionPoolError,
    exceptions.UnsupportedServerProduct,
    OSError,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a caller waits, in seconds: `retry_s` while the server is away or contended, `limit_s` for any call in all."""

    retry_s: float = 5.0
    limit_s: float = 10.0


REQUEST = Patience()
"""For requests: a client is told to come back."""
BULK = Patience(retry_s=60.0, limit_s=120.0)
"""For bulk work, which outlives a restart of the server."""
PROBE = Patience(retry_s=1.0, limit_s=3.0)
"""For a look whether somebody is there."""
SCHEMA = Patience(retry_s=60.0, limit_s=3_600.0)
"""For constraints over a graph that was imported: the server builds an index of every edge."""


class Transaction:
    """An open transaction, asked by the name of a query.

    A query answers with one value at most, such as `collect([…])`: the driver takes 50 µs for a row, whatever is in it.
    Its parameters come as one map, `$given`: the server compiles a query anew for each order of magnitude of a list that is a
    parameter itself, which costs 0.2 to 2 s.
    """

    def __init__(self, transaction: AsyncManagedTransaction | AsyncTransaction, queries: Callable[[str], LiteralString]) -> None:
        self._transaction = transaction
        self._queries = queries

    async def run(self, query: str, **parameters: Any) -> Any:
        """The value that a query answers with; None if it has no answer."""
        rows = await (await self._transaction.run(self._queries(query), {"given": parameters})).values()
        return rows[0][0] if rows else None

    async def execute(self, statement: LiteralString) -> None:
        """Runs a statement without an answer, such as one of a schema."""
        await (await self._transaction.run(statement)).consume()


class Bolt:
    """Connections to one database, shared by threads. Nothing is connected before the first transaction."""

    def __init__(self, address: Address, patience: Patience, queries: Callable[[str], LiteralString]) -> None:
        self.address = address
        self._patience = patience
        self._queries = queries
        self._refusal: WrongCredentials | None = None
        self._closed = False
        self._submitting = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bolt", daemon=True)
        self._thread.start()
        try:
            self._driver = self._call(_connect(address), _CONNECT_S)
        except BaseException:
            self._stop_loop()
            raise

    def read(self, work: Work[Answer], patience: Patience | None = None) -> Answer:
        """Runs `work` in a read transaction, again if the server lost it; with other patience than the usual if given."""
        return self._transact(work, READ_ACCESS, patience or self._patience)

    def write(self, work: Work[Answer], patience: Patience | None = None) -> Answer:
        """Runs `work` in a write transaction, again if the server lost it: replaying it must change nothing.

        Raises:
            TooLarge: the server's memory does not do for it.
            Unavailable: the server is away, silent for longer than the limit, or needs a restart.
            UnusableStore: it does not let this login write, or nobody write.
            WrongCredentials: the login is refused; from then on at once, without asking the server again.
        """
        return self._transact(work, WRITE_ACCESS, patience or self._patience)

    def try_to_write(self, work: Work[None]) -> None:
        """Runs `work` in a write transaction that is rolled back; errors as `write`."""

        async def run() -> None:
            async with self._session(WRITE_ACCESS, 0) as session:
                opened = await session.begin_transaction(timeout=self._patience.limit_s)
                await work(Transaction(opened, self._queries))
                await opened.rollback()

        self._answered(run, self._patience)

    @contextmanager
    def transaction(self) -> Iterator[Ask]:
        """A write transaction that is open as long as the block, at most as long as any call; it is not run again.

        Raises:
            Unavailable: as `write`; whether the transaction took place may then not be known.
        """

        async def begin() -> tuple[AsyncSession, AsyncTransaction]:
            session = self._session(WRITE_ACCESS, self._patience.retry_s)
            return session, await session.begin_transaction(timeout=self._patience.limit_s)

        session, opened = self._answered(begin, self._patience)
        asked = Transaction(opened, self._queries)
        try:
            yield lambda name, **given: self._answered(lambda: asked.run(name, **given), self._patience)
            self._answered(opened.commit, self._patience)
        finally:
            # It rolls back what is not committed; the server's side of the connection may be gone.
            with suppress(NBClipError):
                self._answered(session.close, self._patience)

    def make(self, statement: LiteralString) -> None:
        """Runs one statement of a schema in a transaction of its own; what another process made meanwhile is made."""

        # The error ends the transaction with it: what is caught inside one can only fail to commit.
        try:
            self._transact(lambda transaction: transaction.execute(statement), WRITE_ACCESS, SCHEMA)
        except exceptions.ClientError as error:
            if not (error.code or "").endswith(MADE_BY_ANOTHER):
                raise

    def close(self) -> None:
        """Closes every connection, and ends the calls that still wait; safe to call twice."""
        with self._submitting:
            if self._closed:
                return
            self._closed = True
        # The server's side of the connection may be gone.
        with suppress(TimeoutError, exceptions.Neo4jError, exceptions.DriverError, OSError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._stop_loop()

    async def _end(self) -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(_CLOSE_S):
            await self._driver.close()

    def _transact(self, work: Work[Answer], access: str, patience: Patience) -> Answer:
        async def attempt(transaction: AsyncManagedTransaction) -> Answer:
            return await work(Transaction(transaction, self._queries))

        async def within(retry_s: float) -> Answer:
            async with self._session(access, retry_s) as session:
                execute = session.execute_read if access == READ_ACCESS else session.execute_write
                whole = unit_of_work(timeout=patience.limit_s)(attempt)
                try:
                    return await execute(whole)
                except exceptions.IncompleteCommit:
                    # Whether it was stored is not known; replaying it changes nothing if it was.
                    return await execute(whole)

        async def run() -> Answer:
            try:
                # The driver would also repeat what can never go through.
                return await within(0)
            except _NO_ANSWER as error:
                cause = await diagnosis(self.address.url)
                if isinstance(cause, UnusableStore):
                    raise cause from error
            except (exceptions.Neo4jError, exceptions.DriverError) as error:
                if is_final(error):
                    raise
            return await within(patience.retry_s)

        return self._answered(run, patience)

    def _session(self, access: str, retry_s: float) -> AsyncSession:
        return self._driver.session(
            database=self.address.database,
            default_access_mode=access,
            connection_acquisition_timeout=self._patience.retry_s,
            max_transaction_retry_time=retry_s,
        )

    def _answered(self, run: Callable[[], Coroutine[Any, Any, Answer]], patience: Patience) -> Answer:
        if self._refusal:
            raise WrongCredentials(self._refusal.message, hint=self._refusal.hint)
        try:
            with explained(self.address, patience.limit_s):
                return self._call(self._with_diagnosis(run), patience.limit_s)
        except WrongCredentials as refusal:
            self._refusal = refusal
            raise

    async def _with_diagnosis(self, run: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        try:
            return await run()
        except _NO_ANSWER as error:
            raise await diagnosis(self.address.url) from error

    def _call(self, coroutine: Coroutine[Any, Any, Answer], limit_s: float) -> Answer:
        with self._submitting:
            if self._closed:
                coroutine.close()
                raise self._is_closed()
            future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, limit_s), self._loop)
        try:
            return future.result()
        except CancelledError as error:
            raise self._is_closed() from error

    def _is_closed(self) -> Unavailable:
        return Unavailable(f"the graph store {self.address.url} is closed", hint="open it again")

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _connect(address: Address) -> AsyncDriver:
    try:
        return AsyncGraphDatabase.driver(
            address.url,
            auth=(address.user, address.password) if address.user else None,
            connection_timeout=_CONNECT_S,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
            user_agent="nbclip-kg-service",
        )
    except (exceptions.ConfigurationError, ValueError) as error:
        raise InvalidInput(f"can't use {address.url}: {error}", hint="such as neo4j://localhost:7687") from error
