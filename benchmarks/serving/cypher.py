"""The nearest that Neo4j comes to `/targets`: cosine of the sets of present concepts, all pairs of a batch, on a real server.

By Cypher, and by the Graph Data Science library's nodeSimilarity, where Java and Maven are at hand to make a server with it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from kernels import least_seconds
from kg_service.graph import open_store
from kg_service.graph.exports.transfer import copy
from kg_service.graph.store import GraphStore
from neo4j import Driver
from support.neo4j.artifacts import find_artifacts, find_java
from support.neo4j.choice import choose
from support.neo4j.process import ProcessServer
from support.neo4j.server import OwnServer
from support.neo4j.ways import Make, ways_to_own

NEO4J_SIZES = (64, 256)
_WITH_GDS = "Java and Maven, with Graph Data Science"
_GDS = Path(__file__).with_name("gds.xml")
_MEMORY = {"server.memory.heap.max_size": "2g", "server.memory.pagecache.size": "512m"}
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
_PROJECT = """
MATCH (image:Image)-[:HAS_ATTRIBUTE {assertion: "present"}]->(concept:Concept)
RETURN gds.graph.project("all", image, concept)
"""
_PROJECT_BATCH = """
MATCH (image:Image) WHERE image.image_id IN $image_ids
MATCH (image)-[:HAS_ATTRIBUTE {assertion: "present"}]->(concept:Concept)
RETURN gds.graph.project("batch", image, concept)
"""
_OF_ALL = """
MATCH (image:Image) WHERE image.image_id IN $image_ids
WITH collect(image) AS images
CALL gds.nodeSimilarity.filtered.stream("all", {sourceNodeFilter: images, targetNodeFilter: images, similarityMetric: "COSINE",
  similarityCutoff: 1e-9, topK: size(images)})
YIELD node1, node2, similarity
RETURN node1, node2, similarity
"""
_OF_BATCH = """
CALL gds.nodeSimilarity.stream("batch", {similarityMetric: "COSINE", similarityCutoff: 1e-9, topK: $images})
YIELD node1, node2, similarity
RETURN node1, node2, similarity
"""


def neo4j_seconds(graph: GraphStore, batches: Mapping[int, Sequence[str]]) -> dict[int, dict[str, float]]:
    """Seconds by the clock of one batch, by size and peer."""
    choice = choose(_ways())
    with tempfile.TemporaryDirectory() as name, closing(choice.found(Path(name) / "server", settings=_MEMORY)) as own:
        own.start()
        login = {"user": own.server.user, "password": own.server.password}
        with closing(open_store(own.server.uri, **login, mirror=Path(name) / "mirror", bulk=True)) as store:
            copy(graph, store)
        with own.server.driver() as driver:
            peers: dict[str, Callable[[Driver, list[str]], object]] = {"Cypher": _by_cypher}
            if choice.way == _WITH_GDS:
                driver.execute_query(_PROJECT)
                peers |= {"GDS nodeSimilarity": _by_gds, "GDS nodeSimilarity, with a projection of the batch": _by_gds_projected}
            return {
                size: {name: least_seconds(partial(ask, driver, list(ids)), time.perf_counter) for name, ask in peers.items()}
                for size, ids in batches.items()
            }


def _by_cypher(driver: Driver, ids: list[str]) -> object:
    return driver.execute_query(_QUERY, image_ids=ids)


def _by_gds(driver: Driver, ids: list[str]) -> object:
    """On the whole graph, which is in its memory already."""
    return driver.execute_query(_OF_ALL, image_ids=ids)


def _by_gds_projected(driver: Driver, ids: list[str]) -> object:
    """On a graph of the batch alone, which is made for it."""
    driver.execute_query(_PROJECT_BATCH, image_ids=ids)
    try:
        return driver.execute_query(_OF_BATCH, images=len(ids))
    finally:
        driver.execute_query('CALL gds.graph.drop("batch") YIELD graphName')


def _ways() -> dict[str, Callable[[], Make]]:
    """A server with the library first; who names an image wants that one."""
    own = ways_to_own(os.environ)
    return own if "NEO4J_IMAGE" in os.environ else {_WITH_GDS: _with_gds, **own}


def _with_gds() -> Make:
    java, jars = find_java(), find_artifacts(_GDS)
    version = ElementTree.parse(_GDS).findtext(".//{*}gds.version")

    def make(
        folder: Path, *, settings: Mapping[str, str] | None = None, disk_bytes: int = 0, starts_fast: bool = False
    ) -> OwnServer:
        plugins = folder.with_name("plugins")
        plugins.mkdir(parents=True)
        # All are on the class path; procedures are looked for in the jars of this folder alone.
        for jar in jars.glob(f"*-{version}.jar"):
            (plugins / jar.name).symlink_to(jar)
        more = {"server.directories.plugins": str(plugins), "dbms.security.procedures.unrestricted": "gds.*"}
        return ProcessServer(
            java, jars, folder, settings=dict(settings or {}) | more, disk_bytes=disk_bytes, starts_fast=starts_fast
        )

    return make
