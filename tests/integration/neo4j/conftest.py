"""The store on a real server, and another program beside it."""

import pytest
from kg_service.graph import open_store


@pytest.fixture
def mirror(tmp_path):
    return tmp_path / "mirror"


@pytest.fixture
def opened(empty_neo4j, mirror):
    """Opens the store on the emptied server; again and with another login if asked."""
    stores = []

    def open_again(**options):
        chosen = {"user": empty_neo4j.user, "password": empty_neo4j.password, "mirror": mirror} | options
        stores.append(open_store(empty_neo4j.uri, **chosen))
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def cypher(empty_neo4j):
    """Runs a statement as another program would."""
    with empty_neo4j.driver() as driver:
        yield lambda statement, **parameters: [record.values() for record in driver.execute_query(statement, parameters).records]
