"""Every graph store goes through the same suite: a store joins it by one more entry in FACTORIES."""

import pytest
from kg_service.graph.embedded import open_embedded


def embedded(folder):
    return lambda: open_embedded(folder / "graph.db")


FACTORIES = {"embedded": embedded}


@pytest.fixture(params=FACTORIES.values(), ids=FACTORIES.keys())
def new_store(request, tmp_path_factory):
    """Makes an empty store and returns what opens it, as often as one likes."""
    return lambda: request.param(tmp_path_factory.mktemp("graph"))


@pytest.fixture
def opener(new_store):
    """Opens the one store of this test."""
    return new_store()


@pytest.fixture
def store(opener):
    store = opener()
    yield store
    store.close()
