"""The graph's is_a against a vocabulary's."""

import pytest
from kg_service.snapshot.vocabulary_check import with_other_parents
from support.small_graphs import graph_of


class Parents(dict):
    """All that is asked of a vocabulary: the parents of each concept that it has."""

    parents = dict.__getitem__


VOCABULARY = Parents({"C0000000": ["C0000001", "C0000002"], "C0000001": ["C0000002"], "C0000002": []})


@pytest.mark.parametrize(
    ("is_a", "other"),
    [
        ([(0, 1), (0, 2), (1, 2)], []),
        ([(0, 1), (1, 2)], ["C0000000"]),
        ([(0, 1), (0, 2), (1, 2), (2, 3)], ["C0000002"]),
        ([(0, 1), (0, 2), (1, 2), (3, 2)], ["C0000003"]),
        ([], ["C0000000", "C0000001"]),
    ],
)
def test_concepts_with_edges_too_many_or_too_few_are_found(is_a, other):
    graph = graph_of([[0], [3]], is_a)
    assert with_other_parents(graph.cuis, graph.is_a, VOCABULARY) == other
