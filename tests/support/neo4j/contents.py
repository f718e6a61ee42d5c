"""What a server's database holds, as dicts that can be compared."""

from __future__ import annotations

from typing import Any

from neo4j import Result
from support.neo4j.server import Neo4jServer

CHANGING = ("graph_id", "revision")
"""What names a graph or counts its transactions."""


def nodes(server: Neo4jServer, label: str, name: str, *, without: tuple[str, ...] = CHANGING) -> dict[str, dict[str, Any]]:
    """The properties of the nodes with a label, `without` some, by the one that names them. An import leaves out empty lists."""
    found = [dict(node) for (node,) in rows(server, f"MATCH (node:{label}) RETURN node")]
    return {node[name]: {key: value for key, value in node.items() if key not in without and value != []} for node in found}


def edges(server: Neo4jServer) -> dict[tuple[str, str], Any]:
    """The properties and ends of all edges, by type and key."""
    found = rows(server, "MATCH ()-[edge]->() RETURN type(edge), properties(edge), startNode(edge), endNode(edge)")
    return {(kind, edge["key"]): (edge, [node.get("image_id", node.get("cui")) for node in ends]) for kind, edge, *ends in found}


def indexes(server: Neo4jServer) -> set[str]:
    """The names of the indexes that can be used."""
    return {name for (name,) in rows(server, 'SHOW INDEXES YIELD name, state WHERE state = "ONLINE" RETURN name')}


def rows(server: Neo4jServer, query: str) -> list[list[Any]]:
    """What a query answers."""
    with server.driver() as driver:
        return driver.execute_query(query, result_transformer_=Result.values)
