"""The queries of `cypher/`, the schema that they stand on, and what a database must be before the graph is used."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from nbclip.errors import BrokenArtefact, Conflict, NBClipError, NotFound

from kg_service.graph.neo4j.bolt import REQUEST, SCHEMA, Bolt, Transaction

SCHEMA_VERSION = 1
NEW_STATE: LiteralString = (
    "MATCH (node) WITH max(node.revision) AS last CREATE (:GraphState "
    '{name: "graph", graph_id: randomUUID(), schema_version: 1, revision: last})'
)
"""Gives a graph back the node that counts its writes; its mirrors copy it anew."""


@cache
def query(name: str) -> LiteralString:
    """The text of `cypher/<name>.cypher`: part of the program; what comes from elsewhere is a parameter."""
    return (files("kg_service.graph.neo4j") / "cypher" / f"{name}.cypher").read_text(encoding="utf-8")


def schema() -> dict[str, LiteralString]:
    """The statements of the schema, by the name of the constraint or index that each makes."""
    statements = re.finditer(r"^CREATE (?:CONSTRAINT|INDEX) (\w+)[^;]*", query("schema"), re.MULTILINE)
    return {statement[1]: statement[0] for statement in statements}


def prepare(bolt: Bolt, *, read_only: bool) -> None:
    """Makes what is missing of the schema, and an empty graph where there is none; with `read_only` nothing.

    Raises:
        Conflict: the database is another program's.
        BrokenArtefact: the graph is of another version, or has lost its `:GraphState`.
        NotFound: there is no graph, and `read_only`.
    """

    async def found(transaction: Transaction) -> tuple[int | None, bool, list[str]]:
        return *await transaction.run("found"), await transaction.run("online")

    async def finish(transaction: Transaction) -> None:
        await transaction.run("await_schema", seconds=int(SCHEMA.limit_s))
        await transaction.run("create_state", schema_version=SCHEMA_VERSION)

    # A server that is not there is told at once, also to those who would wait for one that restarts.
    version, nodes, online = bolt.read(found, REQUEST)
    statements = schema()
    refusal = _refusal(bolt, version, nodes, ours=statements.keys() <= set(online))
    if refusal:
        raise refusal
    if read_only:
        if version is None:
            raise NotFound(f"no graph in {_where(bolt)}", hint="correct the address, or fill one: kg-service ingest FILE")
        return
    missing = [statement for name, statement in statements.items() if name not in online]
    for statement in missing:
        bolt.make(statement)
    if version is None or missing:
        bolt.write(finish, SCHEMA)


def _refusal(bolt: Bolt, version: int | None, nodes: bool, *, ours: bool) -> NBClipError | None:
    """Why a database can't be used; `nodes`: it has images or concepts; `ours`: it has the whole schema."""
    if version is None and nodes and ours:
        return BrokenArtefact(f"{_where(bolt)} has a graph without its :GraphState", hint=f"restore a backup, or run {NEW_STATE}")
    if version is None and nodes:
        return Conflict(
            f"{_where(bolt)} holds :Image or :Concept nodes of another program", hint="give this graph its own database"
        )
    if version not in (None, SCHEMA_VERSION):
        return BrokenArtefact(
            f"{_where(bolt)} has schema version {version}, this program needs {SCHEMA_VERSION}",
            hint="use the program that wrote it",
        )
    return None


def _where(bolt: Bolt) -> str:
    return f"database {bolt.address.database!r} of {bolt.address.url}"
