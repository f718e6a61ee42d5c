import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.vocabulary.hierarchy import cycle_edges
from scipy import sparse
from scipy.sparse import csgraph

graphs = st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda edge: edge[0] != edge[1]), max_size=40)


def cut(edges, nodes=12):
    array = np.array(edges, np.int32).reshape(-1, 2)
    return {tuple(edges[position]) for position in cycle_edges(array[:, 0], array[:, 1], nodes)}


def has_cycle(edges, nodes=12):
    array = np.array(sorted(edges), np.int32).reshape(-1, 2)
    links = sparse.csr_array((np.ones(len(array)), (array[:, 0], array[:, 1])), shape=(nodes, nodes))
    return csgraph.connected_components(links, connection="strong")[0] < nodes


@given(graphs)
def test_what_is_left_has_no_cycle_and_every_cut_edge_would_close_one(edges):
    removed = cut(sorted(edges))
    kept = edges - removed
    assert not has_cycle(kept)
    assert all(has_cycle(kept | {edge}) for edge in removed)


@given(graphs, st.randoms())
def test_cut_does_not_depend_on_the_order_of_edges(edges, random):
    shuffled = sorted(edges)
    random.shuffle(shuffled)
    assert cut(shuffled) == cut(sorted(edges))


@pytest.mark.parametrize(
    ("edges", "removed"),
    [([(0, 1), (1, 2)], set()), ([(0, 1), (1, 0)], {(1, 0)}), ([(2, 1), (1, 2), (0, 2)], {(2, 1)}), ([], set())],
)
def test_walk_from_the_lowest_node_cuts_its_back_edges(edges, removed):
    assert cut(edges) == removed


def test_a_ring_of_a_hundred_thousand_needs_no_recursion():
    nodes = 100_000
    child = np.arange(nodes, dtype=np.int32)
    assert cycle_edges(child, (child + 1) % nodes, nodes).tolist() == [nodes - 1]
