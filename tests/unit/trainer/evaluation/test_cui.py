"""Four images worked by hand. Ontology: lobe is_a lung is_a organ; ct stands alone.

query  {lung, ct}
0      {lung, ct}   shares both           Jaccard 1      is_a 2 of 2
1      {organ}      shares none           Jaccard 0      is_a 1 of 2 (lung is_a organ)
2      {ct, organ}  shares ct             Jaccard 1/3    is_a 2 of 2
3      {lobe}       shares none           Jaccard 0      is_a 1 of 2 (lobe is_a lung)
"""

import itertools

import numpy as np
import pytest
from nbclip_trainer.evaluation.cui import concept_sets, cui_chance, cui_figures
from nbclip_trainer.evaluation.ranking import NOTHING

CT, LOBE, LUNG, ORGAN = "C0000001", "C0000002", "C0000003", "C0000004"
GALLERY = [{LUNG, CT}, {ORGAN}, {CT, ORGAN}, {LOBE}]
ANCESTORS = {LOBE: {LUNG, ORGAN}, LUNG: {ORGAN}}


def figures(ranking, k, *, query=(LUNG, CT), ancestors=ANCESTORS, candidates=(True, True, True, True)):
    sets = concept_sets([*GALLERY, set(query)], ancestors)
    gallery = concept_sets(GALLERY, ancestors)
    columns = [sets.columns.index(cui) for cui in gallery.columns]
    result = cui_figures(sets.member[-1:, columns], gallery, np.array([ranking]), np.array([candidates]), (k,))
    return {name: float(value[0]) for name, value in result.items()}


def test_figures_of_the_first_two_ranks_by_hand():
    assert figures([1, 2, 0, 3], 2) == pytest.approx(
        {
            "cui_precision@2": 1 / 2,
            "cui_overlap@2": (0 + 1 / 2) / 2,
            "cui_overlap_rare@2": (0 + 1 / 2) / 2,
            "cui_jaccard@2": (0 + 1 / 3) / 2,
            "cui_coverage@2": 1 / 2,
            "cui_nrel@2": 1 / 3,
            "cui_onto@2": (1 / 2 + 1) / 2,
        }
    )


def test_figures_of_the_whole_ranking_by_hand():
    assert figures([3, 1, 2, 0], 4) == pytest.approx(
        {
            "cui_precision@4": 2 / 4,
            "cui_overlap@4": (1 + 1 / 2) / 4,
            "cui_overlap_rare@4": (1 + 1 / 2) / 4,
            "cui_jaccard@4": (1 + 1 / 3) / 4,
            "cui_coverage@4": 1,
            "cui_nrel@4": 1,
            "cui_onto@4": (1 / 2 + 1 / 2 + 1 + 1) / 4,
        }
    )


def test_rare_concepts_by_loops():
    """Of 300 images a concept of at most 3 is rare; a query without one has no figure."""
    generator = np.random.default_rng(0)
    shares = np.repeat([0.5, 0.05, 0.008], (3, 10, 60))
    images = [{f"C{concept:07}" for concept in np.flatnonzero(generator.random(73) < shares)} for _ in range(300)]
    gallery = concept_sets(images)
    carriers = {cui: sum(cui in image for image in images) for cui in gallery.columns}
    order = np.stack([generator.permutation(300) for _ in images])
    found = cui_figures(gallery.member, gallery, order, np.ones((300, 300), bool), (7,))["cui_overlap_rare@7"]
    for query, ranking, value in zip(images, order, found, strict=True):
        rare = {cui for cui in query if carriers[cui] <= 3}
        wanted = np.mean([len(rare & images[r]) / len(rare) for r in ranking[:7]]) if rare else np.nan
        assert value == pytest.approx(wanted, nan_ok=True)
    assert 0 < np.isnan(found).sum() < 300


def test_without_an_ontology_there_is_no_ontology_figure():
    assert not any(name.startswith("cui_onto") for name in figures([0, 1, 2, 3], 2, ancestors=None))


def test_the_best_possible_ranking_is_of_candidates_alone():
    assert figures([2, 1, 3, NOTHING], 1, candidates=(False, True, True, True))["cui_nrel@1"] == 1


def test_empty_ranks_retrieve_nothing():
    result = figures([0, NOTHING, NOTHING, NOTHING], 2, candidates=(True, False, False, False))
    assert result["cui_precision@2"] == 0.5
    assert result["cui_overlap@2"] == 0.5
    assert result["cui_coverage@2"] == 1


def test_a_query_without_concepts_has_no_figure():
    assert all(np.isnan(value) for value in figures([0, 1, 2, 3], 2, query=()).values())


def test_coverage_never_falls_with_k():
    coverage = [figures([3, 2, 1, 0], k)[f"cui_coverage@{k}"] for k in (1, 2, 3, 4)]
    assert coverage == sorted(coverage)


def test_chance_is_the_mean_over_every_order_of_the_candidates():
    gallery = concept_sets(GALLERY, ANCESTORS)
    query = np.zeros((1, len(gallery.columns)), np.float32)
    query[0, [gallery.columns.index(LUNG), gallery.columns.index(CT)]] = 1
    for candidates in ([0, 1, 2, 3], [0, 1, 3]):
        allowed = np.isin(np.arange(4), candidates)[None]
        orders = np.array([[*order, *[NOTHING] * (4 - len(order))] for order in itertools.permutations(candidates)])
        repeated = np.repeat(query, len(orders), axis=0), np.repeat(allowed, len(orders), axis=0)
        found = cui_figures(repeated[0], gallery, orders, repeated[1], (1, 2, 4))
        expected = {name: value.mean() for name, value in found.items()}
        chance = cui_chance(query, gallery, allowed, (1, 2, 4))
        assert {name: value[0] for name, value in chance.items()} == pytest.approx(expected)
