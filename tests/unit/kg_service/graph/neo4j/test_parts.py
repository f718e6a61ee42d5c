"""A batch in parts: nothing is lost or twice, none is too heavy, and each can be written by itself."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kg_service.graph.neo4j.parts import batch_of, cut, elements, weight
from kg_service.graph.settlement import require_concepts
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge, RelationEdge

CUIS = [f"C{number:07}" for number in range(6)]
IMAGES = [ImageNode(str(number), "", tuple(AttributeEdge(cui) for cui in CUIS[:number])) for number in range(6)]
BATCH = GraphBatch(
    IMAGES,
    [ConceptNode(cui, f"name of {cui}") for cui in CUIS],
    [IsAEdge(CUIS[0], cui) for cui in CUIS[1:]],
    [RelationEdge(CUIS[5], "part_of", cui) for cui in CUIS[:5]],
)


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_parts_are_the_whole_and_as_heavy_as_they_may_be(weights, most):
    parts = [list(part) for part in cut(weights, weights, most)]
    assert [each for part in parts for each in part] == weights
    assert all(part for part in parts)
    assert all(sum(part) <= most or len(part) == 1 for part in parts)
    assert all(sum(part) + following[0] > most for part, following in pairwise(parts))


@pytest.mark.parametrize("most", [1, 2, 5, 10, 1_000])
def test_every_part_of_a_batch_can_be_written_by_itself_in_order(most):
    whole = elements(BATCH)
    parts = [batch_of(part, BATCH) for part in cut(whole, map(weight, whole), most)]
    for part in parts:
        require_concepts(part)
    assert [node for part in parts for node in part.images] == IMAGES
    assert [edge for part in parts for edge in part.is_a] == BATCH.is_a
    assert [edge for part in parts for edge in part.relations] == BATCH.relations
    assert {concept for part in parts for concept in part.concepts} == {*BATCH.concepts}
    assert (len(parts) == 1) == (most == 1_000)


def test_an_image_weighs_itself_and_its_edges():
    assert [weight(node) for node in IMAGES] == [1, 2, 3, 4, 5, 6]
    assert {weight(each) for each in (*BATCH.concepts, *BATCH.is_a)} == {1}
