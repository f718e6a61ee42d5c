import pytest
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.publication import publish
from support.small_graphs import GraphOnly


@pytest.fixture
def published(tmp_path):
    """Publishes a graph with these representations, and opens the snapshot."""

    def published(graph, **representations):
        publish(GraphOnly(graph), tmp_path, vocabulary={}, representations=representations)
        return SnapshotFolder(tmp_path).open()

    return published
