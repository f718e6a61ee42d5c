"""The driver's errors as this project's: which can be mended by trying again, and what else each asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from nbclip.errors import InvalidInput, NBClipError, Unavailable
from neo4j import exceptions

from kg_service.errors import UnusableStore, WrongCredentials
from kg_service.graph.neo4j.address import Address

MADE_BY_ANOTHER = ("EquivalentSchemaRuleAlreadyExists", "IndexAlreadyExists", "ConstraintAlreadyExists", "WithNameAlreadyExists")
"""How the codes of errors end that say that a part of a schema is there."""
_ENDED = ("Transaction.Terminated", "Transaction.LockClientStopped", "Transaction.TransactionTimedOut")
_NO_MEMORY = "OutOfMemoryError"
_LIMIT = re.compile(r"\b((?:server|db|dbms)\.memory\.[\w.]*\w)")


class TooLarge(Unavailable):
    """The server's memory does not do for one transaction; a smaller one may go through."""


def is_final(error: exceptions.Neo4jError | exceptions.DriverError) -> bool:
    """Whether trying again is of no use. A read-only database is a passing trouble to the driver: of a cluster it may be."""
    read_only = isinstance(error, exceptions.ForbiddenOnReadOnlyDatabase)
    return not error.is_retryable() or read_only or _code(error).endswith(_NO_MEMORY)


def _code(error: exceptions.Neo4jError | exceptions.DriverError) -> str:
    return getattr(error, "code", None) or ""


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


def _explanation(error: exceptions.Neo4jError | exceptions.DriverError, address: Address) -> NBClipError | None:
    """What an error of the driver means for the caller; None for those that only a bug can cause."""
    where, code, said = f"Neo4j at {address.url}", _code(error), _one_line(error)
    database = f"database {address.database!r} of {address.url}"
    match error:
        case exceptions.AuthError() if not address.user:
            return WrongCredentials(f"{where} asks for a login", hint="set KG_STORE_USER and KG_STORE_PASSWORD, restart")
        case exceptions.AuthError():
            return WrongCredentials(f"{where} refuses {address.user!r}", hint="set KG_STORE_USER and KG_STORE_PASSWORD, restart")
        case exceptions.ClientError() if code.endswith("CredentialsExpired"):
            hint = "log in once with Neo4j Browser, which asks for one; set it as KG_STORE_PASSWORD, restart"
            return WrongCredentials(f"{where} wants another password of {address.user!r} first", hint=hint)
        case exceptions.ClientError() if code.endswith("AuthenticationRateLimit"):
            return Unavailable(f"{where} is locked after failed logins", hint="stop what tries a wrong password, wait 5 s")
        case exceptions.ClientError() if any(ended in code for ended in _ENDED):
            return Unavailable(f"{where} ended the transaction: {said}", hint="try again")
        case exceptions.ClientError() if code.endswith("DatabaseNotFound"):
            return WrongCredentials(f"{where} has no database {address.database!r}", hint="correct KG_STORE, restart")
        case exceptions.Neo4jError() if "ReadOnly" in code:
            hint = "server.databases.default_to_read_only, server.databases.read_only or dbms.databases.* in its neo4j.conf"
            return UnusableStore(f"{database} is read-only", hint=hint)
        case exceptions.ClientError() if ".Security." in code:
            hint = "it has to read, write and make indexes and constraints; name another: KG_STORE_USER, KG_STORE_PASSWORD"
            return UnusableStore(f"{database} does not let {address.user!r} do this: {said}", hint=hint)
        case exceptions.ConstraintError():
            hint = "drop the constraint if it is another program's: SHOW CONSTRAINTS lists them"
            return UnusableStore(f"{database} refuses what this program writes: {said}", hint=hint)
        case exceptions.DatabaseError() if code.endswith("ConstraintCreationFailed"):
            hint = "remove one of the two if they are this graph's, or take the label off what is another program's"
            return UnusableStore(f"{database} can't have this graph's schema: {said}", hint=hint)
        case exceptions.CypherSyntaxError():
            hint = "Neo4j 5.26 or newer is needed"
            return UnusableStore(f"{where} does not understand a query of this program: {said}", hint=hint)
        case exceptions.ClientError() if code.endswith(MADE_BY_ANOTHER):
            return None
        case exceptions.ClientError():
            return UnusableStore(f"{database} refuses: {said}", hint="look at its log")
        case exceptions.Neo4jError() if code.endswith(_NO_MEMORY):
            return TooLarge(f"{where} has too little memory for this: {said}", hint=_more_memory(said))
        case exceptions.DatabaseError():
            return Unavailable(f"{where} has failed and needs a restart: {said}", hint="look at its log and its disk")
        case exceptions.TransientError():
            return Unavailable(f"{where} can't do this now: {said}", hint="try again")
        case exceptions.ConfigurationError():
            return InvalidInput(f"can't use {address.url}: {error}", hint="such as neo4j://localhost:7687")
    return None


def _one_line(error: exceptions.Neo4jError | exceptions.DriverError) -> str:
    return " ".join((error.message if isinstance(error, exceptions.Neo4jError) else str(error)).split()).rstrip(".")


def _more_memory(said: str) -> str:
    """The server's setting that its message names, and the one that all others are a share of."""
    named, heap = _LIMIT.search(said), "server.memory.heap.max_size"
    setting = f"{named[1]} (where it is not set, {heap})" if named and named[1] != heap else heap
    return f"raise {setting} in its neo4j.conf and restart it, or send less at once"
