"""A real Neo4j that fails, under the service and the command as processes of their own."""

import csv
import random
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from kg_service.graph import open_store
from kg_service.graph.store import GraphStore
from kg_service.ingest.pipeline import ingest_items
from kg_service.linking.builder import build_linker
from kg_service.snapshot.publication import publish
from kg_service.vocabulary.builder import build_vocabulary
from kg_service.vocabulary.vocabulary import open_vocabulary
from nbclip.schemas.images import ImageItem
from neo4j.exceptions import DriverError, Neo4jError
from support.neo4j.database import wipe
from support.service import Service

EXAMPLES = Path(__file__).parents[2] / "examples"
PUBLISHED = 50
DISTINCT = [
    ("(it:Image)", "it.image_id"),
    ("(it:Concept)", "it.cui"),
    ("(child)-[:IS_A]->(parent)", "[child.cui, parent.cui]"),
    ("(image)-[it:HAS_ATTRIBUTE]->(concept)", "[image.image_id, it.start, it.end, concept.cui]"),
]


@pytest.fixture
def chance():
    """Whatever is drawn; its seed is printed where a test fails."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201
    return random.Random(seed)


@pytest.fixture(scope="session")
def items():
    """Images with the captions of the example data."""
    with (EXAMPLES / "radiology-open" / "metadata.csv").open() as file:
        captions = [row["caption"] for row in csv.DictReader(file)]
    return [ImageItem(image_id=f"fault-{number:04}", caption=caption) for number, caption in enumerate(captions)]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, items):
    """A data folder with a vocabulary, and a snapshot of the first images: made without Neo4j."""
    folder = tmp_path_factory.mktemp("prepared")
    build_vocabulary(EXAMPLES / "vocabulary", folder / "vocabulary")
    with closing(open_store(str(folder / "graph.sqlite"))) as store:
        ingest(items[:PUBLISHED], store, folder)
        publish(store, folder / "snapshots", vocabulary=open_vocabulary(folder / "vocabulary").describe())
    (folder / "graph.sqlite").unlink()
    return folder


@pytest.fixture
def data(prepared, tmp_path):
    return Path(shutil.copytree(prepared, tmp_path / "data"))


@pytest.fixture
def captions_file(tmp_path):
    """Writes items as a file for `kg-service ingest`."""

    def write(items):
        path = tmp_path / "captions.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([("image_id", "caption"), *((item.image_id, item.caption) for item in items)])
        return path

    return write


@pytest.fixture
def expected(data, tmp_path):
    """What a store has to hold after these items: what the embedded one holds."""

    def stored(items):
        with closing(open_store(str(tmp_path / "expected.sqlite"))) as store:
            ingest(items, store, data)
            return content(store)

    return stored


def ingest(items, store, folder):
    vocabulary = open_vocabulary(folder / "vocabulary")
    ingest_items(items, store, build_linker("dictionary", vocabulary), vocabulary, "reject")


def content(store: GraphStore):
    """Every image with its attributes, and all counts."""
    return [replace(node, ingested_at="") for node in store.images(limit=10_000)], store.counts()


@pytest.fixture(scope="session")
def healthy():
    """Servers that the test before left in order."""
    return []


@pytest.fixture
def own_neo4j(healthy, make_own_neo4j, tmp_path_factory):
    """An empty server to stop, kill and freeze."""
    if healthy:
        own = healthy.pop()
    else:
        own = make_own_neo4j(tmp_path_factory.mktemp("own") / "server")
        own.start()
    yield own
    try:
        wipe(own.server)
        healthy.append(own)
    except (DriverError, Neo4jError):
        own.kill()


@pytest.fixture
def settings_for(data):
    """The settings that name a Neo4j."""

    def settings(server, **others):
        login = {"KG_STORE": server.uri, "KG_STORE_USER": server.user, "KG_STORE_PASSWORD": server.password}
        return {"KG_DATA": str(data)} | login | others

    return settings


@pytest.fixture
def serve(data, settings_for):
    """Starts the service on a Neo4j."""
    running = []

    def start(server):
        running.append(Service(data, settings_for(server)))
        return running[-1]

    yield start
    for service in running:
        service.close()


@pytest.fixture(scope="session")
def targets(items):
    """Asks a service for the targets of the published images."""
    body = {"image_ids": [item.image_id for item in items[:PUBLISHED]]}
    return lambda service: service.client.post("/targets", json=body)


@pytest.fixture
def stored(tmp_path):
    """What a Neo4j holds, read by another process than the service, and that nothing stands there twice."""

    def read(server):
        with closing(open_store(server.uri, user=server.user, password=server.password, mirror=tmp_path / "m")) as store:
            found = content(store)
        with server.driver() as driver:
            for pattern, key in DISTINCT:
                repeated = f"MATCH {pattern} WITH {key} AS key, count(*) AS times WHERE times > 1 RETURN key, times"
                assert driver.execute_query(repeated).records == []
        return found

    return read
