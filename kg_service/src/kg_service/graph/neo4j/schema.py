"""The queries of `cypher/`, the schema that they stand on, and what a database must be before the graph is used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import LiteralString

from nbclip.errors import BrokenArtefact, NBClipError, NotFound

from kg_service.errors import UnusableStore
from kg_service.graph.neo4j.bolt import REQUEST, SCHEMA, Bolt, Transaction

SCHEMA_VERSION = 1
NEW_STATE: LiteralString = (
    "MATCH (node) WITH max(node.revision) AS last CREATE (:GraphState "
    '{name: "graph", graph_id: randomUUID(), schema_version: 1, revision: last})'
)
"""Gives a graph back the node that counts its writes; its mirrors copy it anew."""

_OWN_PLACE = "give this graph a database of its own"
_LABELS = ("Image", "Concept")
_STATEMENT = re.compile(
    r"^CREATE (CONSTRAINT|INDEX) (?P<name>\w+) IF NOT EXISTS FOR [^:]*:(?P<kind>\w+)[^.]*\.(?P<property>\w+)[^;]*", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A constraint or an index of the schema; `kind`: the label or type that has the property."""

    name: str
    kind: str
    property: str
    unique: bool
    statement: LiteralString

    def __str__(self) -> str:
        return f"{'constraint' if self.unique else 'index'} {self.name!r} on :{self.kind}({self.property})"


@dataclass(frozen=True, slots=True)
class Index:
    """An index of the database: one of our own, another's, or that of a constraint (`unique`)."""

    name: str
    state: str
    type: str
    kinds: Sequence[str]
    properties: Sequence[str]
    unique: bool

    def __str__(self) -> str:
        what = "the constraint" if self.unique else "the index"
        return f"{what} {self.name!r} on :{'|'.join(self.kinds)}({', '.join(self.properties)})"

    def drop(self) -> str:
        """The statement that removes it."""
        return f"DROP {'CONSTRAINT' if self.unique else 'INDEX'} `{self.name.replace('`', '``')}`"

    def is_for(self, rule: Rule) -> bool:
        """Whether it is one of the same kind of nodes or edges, and property; there can be one such alone."""
        return self.type == "RANGE" and [*self.kinds] == [rule.kind] and [*self.properties] == [rule.property]

    def serves(self, rule: Rule) -> bool:
        """Whether it does what the rule asks for, under whatever name, or will once it is built."""
        return self.is_for(rule) and self.state != "FAILED" and self.unique == rule.unique


@cache
def query(name: str) -> LiteralString:
    """The text of `cypher/<name>.cypher`: part of the program; what comes from elsewhere is a parameter."""
    return (files("kg_service.graph.neo4j") / "cypher" / f"{name}.cypher").read_text(encoding="utf-8")


def schema() -> dict[str, Rule]:
    """The schema, by the name of the constraint or index that each statement makes."""
    found = _STATEMENT.finditer(query("schema"))
    return {each["name"]: Rule(each["name"], each["kind"], each["property"], each[1] == "CONSTRAINT", each[0]) for each in found}


def prepare(bolt: Bolt, *, read_only: bool) -> None:
    """Makes what is missing of the schema, and an empty graph where there is none; with `read_only` nothing.

    Raises:
        UnusableStore: the database holds nodes, an index or a constraint of another program where this graph has its own.
        BrokenArtefact: the graph is of another version, or has lost its `:GraphState`.
        NotFound: there is no graph, and `read_only`.
    """

    async def found(transaction: Transaction) -> tuple[_Found, list[int]]:
        return _Found(*await transaction.run("found")), await transaction.run("strangers")

    async def finish(transaction: Transaction) -> None:
        await transaction.run("await_schema", seconds=int(SCHEMA.limit_s))
        await transaction.run("create_state", schema_version=SCHEMA_VERSION)

    # A server that is not there is told at once, also to those who would wait for one that restarts.
    state, strangers = bolt.read(found, REQUEST)
    refusal = _refusal(bolt, state, strangers)
    if refusal:
        raise refusal
    if read_only:
        if not state.exists:
            raise NotFound(f"no graph in {_where(bolt)}", hint="correct the address, or fill one: kg-service ingest FILE")
        return
    missing = _missing(bolt)
    for rule in missing:
        bolt.make(rule.statement)
    if missing or not state.exists:
        bolt.write(finish, SCHEMA)
    if missing and (still := _missing(bolt)):
        # A rule without an index, which takes one of our names.
        names = ", ".join(rule.name for rule in still)
        raise UnusableStore(f"{_where(bolt)} has another use for the name {names}", hint=f"SHOW CONSTRAINTS; or {_OWN_PLACE}")


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands in a database."""

    exists: bool
    graph_id: str | None
    version: int | None
    nodes: bool


def _missing(bolt: Bolt) -> list[Rule]:
    """The rules that are yet to be made, or are being built.

    Raises:
        UnusableStore: one can't be made.
    """
    indexes = [Index(*row) for row in bolt.read(lambda transaction: transaction.run("indexes"), REQUEST)]
    serving = {rule: [index for index in indexes if index.serves(rule)] for rule in schema().values()}
    _refuse_others(bolt, [rule for rule, found in serving.items() if not found], indexes)
    return [rule for rule, found in serving.items() if not any(index.state == "ONLINE" for index in found)]


def _refuse_others(bolt: Bolt, unserved: Iterable[Rule], indexes: Sequence[Index]) -> None:
    blocked = {rule: [index for index in indexes if index.name == rule.name or index.is_for(rule)] for rule in unserved}
    others = {index.name: index for found in blocked.values() for index in found}
    if others:
        ours = ", ".join(str(rule) for rule, found in blocked.items() if found)
        raise UnusableStore(
            f"{_where(bolt)} has {', '.join(map(str, others.values()))} in the place of this graph's {ours}",
            hint=f"{'; '.join(index.drop() for index in others.values())}; or {_OWN_PLACE}",
        )


def _refusal(bolt: Bolt, state: _Found, strangers: Sequence[int]) -> NBClipError | None:
    """Why what stands in a database can't be used."""
    for label, count in zip(_LABELS, strangers, strict=True):
        if count:
            their = f"MATCH (node:{label}) WHERE node.revision IS NULL SET node:Other{label} REMOVE node:{label}"
            return UnusableStore(
                f"{_where(bolt)} holds {count} :{label} nodes of another program", hint=f"{_OWN_PLACE}, or rename theirs: {their}"
            )
    if state.exists and (state.graph_id is None or state.version is None):
        their = 'MATCH (node:GraphState {name: "graph"}) SET node:OtherState REMOVE node:GraphState'
        return UnusableStore(
            f"{_where(bolt)} holds a :GraphState node of another program", hint=f"{_OWN_PLACE}, or rename theirs: {their}"
        )
    if not state.exists and state.nodes:
        return BrokenArtefact(f"{_where(bolt)} has a graph without its :GraphState", hint=f"restore a backup, or run {NEW_STATE}")
    if state.exists and state.version != SCHEMA_VERSION:
        return BrokenArtefact(
            f"{_where(bolt)} has schema version {state.version}, this program needs {SCHEMA_VERSION}",
            hint="use the program that wrote it",
        )
    return None


def _where(bolt: Bolt) -> str:
    return f"database {bolt.address.database!r} of {bolt.address.url}"
