"""One SQLite file shared by threads: a writer connection under a lock, and reader connections that are lent and taken back."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from nbclip.errors import BrokenArtefact, InvalidInput, NBClipError, Unavailable, os_reason

from kg_service.errors import UnusablePath

APPLICATION_ID = int.from_bytes(b"NBKG", "big")
SCHEMA_VERSION = 4
_FORMER_VERSIONS = (1, 2, 3)
"""Files of these get what they lack when they are opened, and keep what they have."""
_WRITER_CACHE_KIB = 65_536
_SCHEMA = files("kg_service.graph.embedded").joinpath("schema.sql")


class Database:
    """The file at `path`, created with the store's tables where there is none.

    Args:
        path: the file; its folder is created too.
        patience_s: how long a write waits, in seconds, while another process writes.

    Raises:
        BrokenArtefact: the file is no graph store, is damaged, or was made by another version.
        Unavailable: it can't be opened or is locked.
    """

    def __init__(self, path: Path, *, patience_s: float = 5.0) -> None:
        self.path = path
        self._patience_s = patience_s
        self._write_lock = threading.Lock()
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            try:
                self._writer.execute(f"PRAGMA cache_size = {-_WRITER_CACHE_KIB}")
                _prepare(self._writer, path)
            except BaseException:
                self._writer.close()
                raise

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is durable when the block ends, and leaves nothing if the block raises."""
        with self._write_lock, explained(self.path):
            self._refuse_closed()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file, whatever is written meanwhile."""
        with explained(self.path):
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._give_back(connection)

    def close(self) -> None:
        """Closes every connection, those still lent as soon as they come back; safe to call twice."""
        with self._write_lock:
            self._closed = True
            self._close_idle()
            self._writer.close()

    def _borrow(self) -> sqlite3.Connection:
        self._refuse_closed()
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        self._idle.append(connection)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Unavailable(f"the graph store {self.path} is closed", hint="open it again")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._patience_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # SQLite's own lower() knows ASCII alone.
            connection.create_function("lower_case", 1, str.lower, deterministic=True)
        except BaseException:
            # The file may be no database.
            connection.close()
            raise
        return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors inside the block into this project's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        explanation = _explanation(error, path)
        if explanation is None:
            raise
        raise explanation from error
    except UnicodeEncodeError as error:
        raise InvalidInput(f"text with a lone surrogate: {error.object!r:.80}", hint="send valid Unicode") from error
    except OSError as error:
        raise UnusablePath(
            f"can't open the graph store: {os_reason(error)}", hint="check the path and its permissions"
        ) from error


def _explanation(error: sqlite3.DatabaseError, path: Path) -> NBClipError | None:
    """What an SQLite error means for the caller; None for those that only a bug can cause."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Unavailable(f"{path} is locked by another process", hint="try again, or stop the process that writes to it")
    if name.startswith("SQLITE_FULL"):
        return Unavailable(f"no space left for {path}", hint="free disk space; nothing from this batch was stored")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return UnusablePath(f"can't use {path}: {error}", hint="check the path and its permissions")
    if name.startswith("SQLITE_IOERR"):
        return Unavailable(f"can't use {path}: {error}", hint="check the disk, the path and its permissions")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return BrokenArtefact(f"{path} is damaged or not a graph store: {error}", hint=_way_out(path))
    if name.startswith("SQLITE_CONSTRAINT"):
        return InvalidInput(f"a value that the graph can't hold: {error}", hint="correct it; nothing from this batch was stored")
    return None


def _way_out(path: Path) -> str:
    return f"restore it from a copy, or move {path} away and ingest again"


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application, version, tables = connection.execute(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)"
        " FROM pragma_application_id, pragma_user_version"
    ).fetchone()
    if (application, version) == (APPLICATION_ID, SCHEMA_VERSION):
        return
    if application == APPLICATION_ID and version not in _FORMER_VERSIONS:
        raise BrokenArtefact(
            f"{path} has schema version {version}, this program needs {SCHEMA_VERSION}",
            hint="use the program that wrote it, or move the file away and ingest again",
        )
    if application != APPLICATION_ID and (tables or application or version):
        raise BrokenArtefact(f"{path} is an SQLite file of another program", hint="give the graph store a file of its own")
    connection.execute("PRAGMA journal_mode = WAL")
    # The script is one transaction and creates only what is missing, so that two processes may run it at once.
    connection.executescript(_SCHEMA.read_text(encoding="utf-8"))
