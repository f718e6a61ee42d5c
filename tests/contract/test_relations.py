"""Typed edges in every graph store, worked out by hand.

pneumonia is_a lung disease; lung disease has_finding_site lung; lung part_of thorax part_of body; lung is_a organ.
"""

from dataclasses import replace

import numpy as np
import pytest
from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, GraphCounts, ImageNode, IsAEdge, RelationEdge
from nbclip.errors import InvalidInput

BODY, LUNG, LUNG_DISEASE, ORGAN, PNEUMONIA, THORAX = CUIS = [f"C000000{digit}" for digit in range(1, 7)]
SITE, PART = "has_finding_site", "part_of"
RELATIONS = [
    RelationEdge(LUNG_DISEASE, SITE, LUNG, "NCI"),
    RelationEdge(LUNG, PART, THORAX, "UBERON"),
    RelationEdge(THORAX, PART, BODY, "UBERON"),
    # Of what only a relation led to, no other relation is followed.
    RelationEdge(THORAX, SITE, LUNG_DISEASE, "odd"),
]
IS_A = [IsAEdge(PNEUMONIA, LUNG_DISEASE, "MSH"), IsAEdge(LUNG, ORGAN, "MSH")]


def image(image_id, *cuis, **fields):
    return ImageNode(image_id, "a caption", tuple(map(AttributeEdge, cuis)), **fields)


def batch(*images):
    return GraphBatch(images, [ConceptNode(cui, f"name of {cui}") for cui in CUIS], IS_A, RELATIONS)


def related(graph):
    return {name: [(graph.cuis[one], graph.cuis[two]) for one, two in edges.tolist()] for name, edges in graph.relations.items()}


def test_a_graph_has_what_its_concepts_lead_to(store):
    store.write(batch(image("a", PNEUMONIA)))
    graph = store.read_graph()
    assert graph.cuis == (BODY, LUNG, LUNG_DISEASE, ORGAN, PNEUMONIA, THORAX)
    assert related(graph) == {SITE: [(LUNG_DISEASE, LUNG)], PART: [(LUNG, THORAX), (THORAX, BODY)]}
    assert {edges.dtype for edges in graph.relations.values()} == {np.dtype(np.int32)}
    assert list(graph.relations) == [SITE, PART]
    assert store.counts() == GraphCounts(images=1, concepts=6, attributes=1, is_a=2, relations={SITE: 2, PART: 2})


def test_a_part_of_the_graph_has_the_relations_of_its_own_concepts(store):
    store.write(batch(image("a", PNEUMONIA, split="train"), image("b", THORAX, split="test")))
    assert related(store.read_graph(split="test")) == {
        SITE: [(THORAX, LUNG_DISEASE)],
        PART: [(THORAX, BODY)],
    }
    assert store.read_graph(split="test").cuis == (BODY, LUNG_DISEASE, THORAX)


def test_writing_again_changes_nothing_and_the_last_source_wins(store):
    for _ in range(2):
        store.write(batch(image("a", PNEUMONIA)))
    assert store.counts().relations == {SITE: 2, PART: 2}
    store.write(GraphBatch((), [ConceptNode(LUNG, ""), ConceptNode(THORAX, "")], (), [RelationEdge(LUNG, PART, THORAX, "FMA")]))
    store.write(GraphBatch((), [ConceptNode(LUNG, ""), ConceptNode(THORAX, "")], (), [RelationEdge(LUNG, PART, THORAX)]))
    held = [edge for part in store.batches() for edge in part.relations]
    assert sorted(held, key=lambda edge: (edge.subject, edge.target)) == sorted(
        [replace(edge, source="FMA") if edge.subject == LUNG else edge for edge in RELATIONS],
        key=lambda edge: (edge.subject, edge.target),
    )


def test_relations_written_later_reach_the_graph(store):
    store.write(replace(batch(image("a", PNEUMONIA)), relations=()))
    assert store.read_graph().relations == {}
    assert store.counts().relations == {}
    store.write(replace(batch(), images=()))
    assert related(store.read_graph()) == {SITE: [(LUNG_DISEASE, LUNG)], PART: [(LUNG, THORAX), (THORAX, BODY)]}


def test_a_cycle_and_an_edge_to_itself_do_no_harm(store):
    loop = [RelationEdge(LUNG, PART, THORAX), RelationEdge(THORAX, PART, LUNG), RelationEdge(LUNG, PART, LUNG)]
    store.write(replace(batch(image("a", LUNG)), relations=loop))
    assert related(store.read_graph()) == {PART: [(LUNG, LUNG), (LUNG, THORAX), (THORAX, LUNG)]}


def test_a_name_is_never_read_as_a_part_of_a_query(store):
    name = "x`]->() DETACH DELETE subject //'; DROP TABLE relation"
    store.write(replace(batch(image("a", LUNG)), relations=[RelationEdge(LUNG, name, THORAX)]))
    assert related(store.read_graph()) == {name: [(LUNG, THORAX)]}


def test_an_edge_to_a_concept_that_the_batch_lacks_is_refused(store):
    with pytest.raises(InvalidInput, match="C9999999"):
        store.write(replace(batch(), relations=[RelationEdge(LUNG, PART, "C9999999")]))
