"""The nearest that Cypher comes to `/targets`: cosine of the sets of present concepts, all pairs of a batch, on a real Neo4j."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from kernels import least_seconds
from kg_service.graph import open_store
from kg_service.graph.store import GraphStore
from kg_service.graph.transfer import copy
from support.neo4j.choice import choose
from support.neo4j.ways import ways_to_own

NEO4J_SIZES = (64, 256)
_QUERY = """
MATCH (image:Image) WHERE image.image_id IN $image_ids
MATCH (image)-[:HAS_ATTRIBUTE {assertion: "present"}]->(concept:Concept)
WITH image, collect(DISTINCT concept) AS concepts
WITH collect({id: image.image_id, concepts: concepts}) AS rows
UNWIND rows AS row UNWIND row.concepts AS concept
MATCH (concept)<-[:HAS_ATTRIBUTE {assertion: "present"}]-(other:Image) WHERE other.image_id IN $image_ids
WITH row, other, count(DISTINCT concept) AS shared
RETURN row.id, other.image_id, shared / sqrt(size(row.concepts) * COUNT { (other)-[:HAS_ATTRIBUTE]->() })
"""


def neo4j_seconds(graph: GraphStore, batches: Mapping[int, Sequence[str]]) -> dict[int, dict[str, float]]:
    """Seconds by the clock of one batch, by size and peer."""
    with tempfile.TemporaryDirectory() as name, closing(choose(ways_to_own(os.environ)).found(Path(name))) as own:
        own.start()
        login = {"user": own.server.user, "password": own.server.password}
        with closing(open_store(own.server.uri, **login, mirror=Path(name) / "mirror", bulk=True)) as store:
            copy(graph, store)
        with own.server.driver() as driver:
            return {
                size: {
                    "Cypher": least_seconds(partial(driver.execute_query, _QUERY, image_ids=list(ids)), time.perf_counter, runs=3)
                }
                for size, ids in batches.items()
            }
