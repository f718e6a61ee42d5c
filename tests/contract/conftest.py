"""Every graph store goes through the same suite: a store joins it by one more parameter here."""

import pytest
from kg_service.graph import open_store
from support.neo4j.database import empty
from support.neo4j.fixtures import SERVERS


@pytest.fixture(params=["embedded", *SERVERS])
def new_store(request, tmp_path_factory):
    """Makes an empty store and returns what opens it, as often as one likes. On Neo4j it takes the place of the one before."""
    make = embedded if request.param == "embedded" else on_neo4j
    return lambda: make(request, tmp_path_factory.mktemp("graph"))


def embedded(request, folder):
    return lambda: open_store(str(folder / "graph.db"))


def on_neo4j(request, folder):
    server = request.getfixturevalue(request.param)
    empty(server)
    return lambda: open_store(server.uri, user=server.user, password=server.password, mirror=folder)


@pytest.fixture
def opener(new_store):
    """Opens the one store of this test."""
    return new_store()


@pytest.fixture
def store(opener):
    store = opener()
    yield store
    store.close()
