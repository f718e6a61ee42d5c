"""Emptying a database between tests, and never one that holds somebody's data."""

from __future__ import annotations

from neo4j import Driver
from support.neo4j.server import Neo4jServer

# An index rather than a node: it is there while the graph is empty.
MARKER = "nbclip_tests_may_delete_everything"


class ForeignDatabase(Exception):
    """A database that holds what these tests did not write."""


def claim(server: Neo4jServer) -> None:
    """Marks a database as the tests' own, for `wipe`.

    Raises:
        ForeignDatabase: it has content or a schema, and not the mark of an earlier claim.
    """
    with server.driver() as driver:
        schema = _names(driver, "INDEXES") | _names(driver, "CONSTRAINTS")
        (count,) = driver.execute_query("MATCH (node) RETURN count(node)").records[0]
        if MARKER not in schema and (schema or count):
            raise ForeignDatabase(
                f"{server.uri} holds {count} nodes, {len(schema)} indexes and constraints that these tests did not make, "
                "and they delete everything: give NEO4J_URI of an empty database"
            )
        driver.execute_query(f"CREATE INDEX {MARKER} IF NOT EXISTS FOR (node:NBClipTests) ON (node.id)")


def empty(server: Neo4jServer) -> None:
    """Deletes all nodes and edges; far faster than `wipe`."""
    with server.driver() as driver, driver.session() as session:
        # Edges first: a frequent concept has more than one transaction's memory holds.
        session.run("MATCH ()-[edge]->() CALL (edge) { DELETE edge } IN TRANSACTIONS OF 10000 ROWS").consume()
        session.run("MATCH (node) CALL (node) { DETACH DELETE node } IN TRANSACTIONS OF 10000 ROWS").consume()


def wipe(server: Neo4jServer) -> None:
    """Deletes all nodes, edges, constraints and indexes."""
    empty(server)
    with server.driver() as driver:
        for kind, kinds in (("CONSTRAINT", "CONSTRAINTS"), ("INDEX", "INDEXES")):
            for name in sorted(_names(driver, kinds) - {MARKER}):
                driver.execute_query(f"DROP {kind} `{name}` IF EXISTS")


def _names(driver: Driver, kinds: str) -> set[str]:
    """CONSTRAINTS or INDEXES by name, without the lookup indexes that every database begins with."""
    found = driver.execute_query(f"SHOW {kinds} YIELD name, type").records
    return {record["name"] for record in found if record["type"] != "LOOKUP"}
