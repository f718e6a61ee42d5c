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
from urllib.parse import urlsplit

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

from kg_service.errors import WrongCredentials

Answer = TypeVar("Answer")
Work = Callable[["Transaction"], Awaitable[Answer]]
Ask = Callable[..., Any]
"""Asks a query by its name and parameters; answers with its value, None if it has none."""


_CONNECT_S = 3.0
_CLOSE_S = 2.0
_ENDED = ("Transaction.Terminated", "Transaction.LockClientStopped", "Transaction.TransactionTimedOut")
_MADE_BY_ANOTHER = ("EquivalentSchemaRuleAlreadyExists", "IndexAlreadyExists", "ConstraintAlreadyExists", "WithNameAlreadyExists")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is and who asks; `user` is empty for a server without authentication."""

    url: str
    database: str
    user: str
    password: str


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


def parse_address(url: str, user: str, password: str) -> Address:
    """Reads `neo4j://[USER@]HOST[:PORT][/DATABASE]`, or bolt, with +s or +ssc for TLS.

    Raises:
        InvalidInput: there is no host, a password stands in the URL, or there is none at all.
    """
    parts = urlsplit(url)
    if parts.password is not None:
        raise InvalidInput("a password in the graph store's address ends up in logs", hint="give it as KG_STORE_PASSWORD")
    if not parts.hostname:
        raise InvalidInput(f"no host in the graph store's address: {url!r}", hint="such as neo4j://localhost:7687")
    user = parts.username or user
    if user and not password:
        raise InvalidInput(f"no password for {url}", hint="KG_STORE_PASSWORD, or KG_STORE_USER= for a server without logins")
    location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return Address(location, parts.path.strip("/") or "neo4j", user, password)


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
            Unavailable: the server is away, silent for longer than the limit, or needs a restart.
            WrongCredentials: the login is refused; from then on at once, without asking the server again.
        """
        return self._transact(work, WRITE_ACCESS, patience or self._patience)

    @contextmanager
    def transaction(self) -> Iterator[Ask]:
        """A write transaction that is open as long as the block, at most as long as any call; it is not run again.

        Raises:
            Unavailable: as `write`; whether the transaction took place may then not be known.
        """

        async def begin() -> tuple[AsyncSession, AsyncTransaction]:
            session = self._session(WRITE_ACCESS, self._patience)
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
            if not (error.code or "").endswith(_MADE_BY_ANOTHER):
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

        async def run() -> Answer:
            async with self._session(access, patience) as session:
                execute = session.execute_read if access == READ_ACCESS else session.execute_write
                whole = unit_of_work(timeout=patience.limit_s)(attempt)
                try:
                    return await execute(whole)
                except exceptions.IncompleteCommit:
                    # Whether it was stored is not known; replaying it changes nothing if it was.
                    return await execute(whole)

        return self._answered(run, patience)

    def _session(self, access: str, patience: Patience) -> AsyncSession:
        return self._driver.session(
            database=self.address.database,
            default_access_mode=access,
            connection_acquisition_timeout=patience.retry_s,
            max_transaction_retry_time=patience.retry_s,
        )

    def _answered(self, run: Callable[[], Coroutine[Any, Any, Answer]], patience: Patience) -> Answer:
        if self._refusal:
            raise WrongCredentials(self._refusal.message, hint=self._refusal.hint)
        try:
            with explained(self.address, patience.limit_s):
                return self._call(run(), patience.limit_s)
        except WrongCredentials as refusal:
            self._refusal = refusal
            raise

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


@contextmanager
def explained(address: Address, limit_s: float) -> Iterator[None]:
    """Turns the driver's errors inside the block into this project's."""
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"Neo4j at {address.url} gave no answer in {limit_s:g} s", hint="look at the server") from error
    except (exceptions.Neo4jError, exceptions.DriverError) as error:
        explanation = _explanation(error, address)
        if explanation is None:
            raise
        raise explanation from error
    except UnicodeEncodeError as error:
        raise InvalidInput(f"text with a lone surrogate: {error.object!r:.80}", hint="send valid Unicode") from error
    except OSError as error:
        raise Unavailable(f"can't reach Neo4j at {address.url}: {error}", hint="look at the address and the server") from error


def _explanation(error: exceptions.Neo4jError | exceptions.DriverError, address: Address) -> NBClipError | None:
    """What an error of the driver means for the caller; None for those that only a bug can cause."""
    where = f"Neo4j at {address.url}"
    code = getattr(error, "code", None) or ""
    match error:
        case exceptions.AuthError():
            return WrongCredentials(f"{where} refuses {address.user!r}", hint="set KG_STORE_USER and KG_STORE_PASSWORD, restart")
        case exceptions.ClientError() if code.endswith("AuthenticationRateLimit"):
            return Unavailable(f"{where} is locked after failed logins", hint="stop what tries a wrong password, wait 5 s")
        case exceptions.ClientError() if any(ended in code for ended in _ENDED):
            return Unavailable(f"{where} ended the transaction: {error.message}", hint="try again")
        case exceptions.ClientError() if code.endswith("DatabaseNotFound"):
            return WrongCredentials(f"{where} has no database {address.database!r}", hint="correct KG_STORE, restart")
        case exceptions.DatabaseError():
            return Unavailable(f"{where} has failed and needs a restart: {error.message}", hint="look at its log and its disk")
        case exceptions.TransientError():
            return Unavailable(f"{where} can't do this now: {error.message}", hint="try again")
        case exceptions.ServiceUnavailable() | exceptions.SessionExpired() | exceptions.ConnectionPoolError():
            return Unavailable(f"{where} does not answer", hint="start it, or correct KG_STORE")
        case exceptions.ConfigurationError():
            return InvalidInput(f"can't use {address.url}: {error}", hint="such as neo4j://localhost:7687")
    return None
