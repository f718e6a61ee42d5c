"""What a concept's typed relations lead to, worked out by hand.

0 pneumonia is_a 1 lung disease; 1 has_finding_site 2 lung; 2 part_of 3 thorax; 4 fracture; 5 cough has_finding_site 3
"""

from dataclasses import replace

import numpy as np
import pytest
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.hybrid.relations import inherited, relation_nearness
from kg_service.representations.weights import edge_matrix
from nbclip.errors import InvalidInput
from support.small_graphs import graph_of

RELATIONS = {"has_finding_site": [(1, 2), (5, 3)], "part_of": [(2, 3)]}
ARRAYS = {name: np.array(edges, np.int32) for name, edges in RELATIONS.items()}
IMAGES = [[0], [2], [5], [4], [4, 0], [1]]
PLAIN = graph_of(IMAGES, [(0, 1)])
TYPED = replace(PLAIN, relations=ARRAYS)


def similarity(fitted, one, other):
    vectors = fitted.embed(["a", "b"], [one, other])
    both = np.hstack([vectors.sparse.toarray(), vectors.dense])
    return float(both[0] @ both[1])


def cuis(*concepts):
    return [f"C{concept:07d}" for concept in concepts]


def test_a_concept_without_a_site_has_those_of_its_nearest_ancestors_with_one():
    parents = edge_matrix(np.array([(0, 1), (1, 2), (0, 3), (4, 0)], np.int32), 7)
    sites = edge_matrix(np.array([(1, 5), (2, 6), (3, 6)], np.int32), 7)
    found = inherited(sites, parents, 6).toarray()
    assert np.flatnonzero(found[0]).tolist() == [5, 6]
    assert np.flatnonzero(found[4]).tolist() == [5, 6]
    assert np.flatnonzero(found[1]).tolist() == [5]
    assert np.flatnonzero(inherited(sites, parents, 1).toarray()[4]).tolist() == []


def test_nearness_by_hand():
    near = relation_nearness(edge_matrix(PLAIN.is_a, 6), ARRAYS, 0.8, 6).toarray()
    wanted = np.zeros((6, 6))
    wanted[[0, 1, 2, 5], [2, 2, 3, 3]] = 0.8
    wanted[[0, 1], [3, 3]] = 0.8**2
    assert near == pytest.approx(wanted)


def test_a_cycle_does_no_harm():
    edges = {"part_of": np.array([(0, 1), (1, 0)], np.int32)}
    near = relation_nearness(edge_matrix(np.zeros((0, 2), np.int32), 2), edges, 0.5, 6).toarray()
    assert near.tolist() == [[0, 0.5], [0.5, 0]]


def test_images_meet_at_a_site_with_the_ontology_and_not_without():
    hybrid = Hybrid(smoothing=0.0, hub_share=1.0)
    forms, plain = hybrid.variants(TYPED), hybrid.variants(PLAIN)
    assert similarity(forms["dk_ek"], cuis(0), cuis(2)) > 0.1
    assert similarity(plain["dk_ek"], cuis(0), cuis(2)) == similarity(forms["dk"], cuis(0), cuis(2)) == 0
    assert similarity(forms["dk_ek"], cuis(0), cuis(4)) == 0


def test_relations_can_be_chosen_or_left_out():
    by_part = Hybrid(smoothing=0.0, hub_share=1.0, relations="part_of").variants(TYPED)["dk_ek"]
    assert similarity(by_part, cuis(0), cuis(2)) == 0
    none = Hybrid(relation_weight=0.0).variants(TYPED)["dk_ek"]
    assert (none.spread != Hybrid().variants(PLAIN)["dk_ek"].spread).nnz == 0
    with pytest.raises(InvalidInput, match="no relation 'part_off'") as refused:
        Hybrid(relations="part_off").fit(TYPED)
    assert "the nearest is part_of" in refused.value.hint


def test_without_relations_the_card_is_as_before_there_were_any():
    assert not any(name.startswith("relation") for name in Hybrid().fit(PLAIN).card())
    assert Hybrid().fit(TYPED).card()["relation_decay"] == 0.8
