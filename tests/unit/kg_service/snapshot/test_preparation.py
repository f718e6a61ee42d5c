"""A snapshot whose images are worked out some at a time is the one of all of them at once."""

import numpy as np
import pytest
from kg_service.config import load_settings
from kg_service.representations.from_settings import representations_of
from kg_service.representations.methods import METHODS
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.publication import publish
from support.small_graphs import GraphOnly, graph_of


@pytest.fixture(scope="module")
def graph():
    """50 images of 20 concepts under each other, some without any."""
    generator = np.random.default_rng(0)
    rows = [np.unique(generator.integers(0, 20, generator.integers(0, 5))).tolist() for _ in range(50)]
    return graph_of(rows, [(child, child // 2) for child in range(1, 20)], count=20)


def published(graph, folder, name):
    chosen = representations_of(load_settings(transe_epochs="3", transe_images="own"), {name: {}})
    return publish(GraphOnly(graph), folder, vocabulary={}, representations=chosen)


@pytest.mark.parametrize("name", METHODS)
def test_the_snapshot_does_not_depend_on_how_many_images_are_in_memory(graph, tmp_path, monkeypatch, name):
    whole = published(graph, tmp_path / "whole", name)
    for module in ("snapshot.preparation", "representations.hybrid.ancestors"):
        monkeypatch.setattr(f"kg_service.{module}.IMAGES_AT_ONCE", 7)
    monkeypatch.setattr("kg_service.representations.weights._COUNTED_AT_ONCE", 7)
    assert published(graph, tmp_path / "parts", name) == whole


def test_positions_beyond_32_bits_are_kept_in_64(graph, tmp_path, monkeypatch):
    narrow = SnapshotFolder(tmp_path / "narrow")
    publish(GraphOnly(graph), narrow.path, vocabulary={})
    monkeypatch.setattr("kg_service.snapshot.segment._INT32_UP_TO", 10)
    wide = SnapshotFolder(tmp_path / "wide")
    publish(GraphOnly(graph), wide.path, vocabulary={})
    one, other = (folder.open().vectors("hybrid", "dk_ek").sparse for folder in (narrow, wide))
    assert (one.indptr.dtype, other.indptr.dtype, other.indices.dtype) == (np.int32, np.int64, np.int64)
    assert (one != other).nnz == 0
