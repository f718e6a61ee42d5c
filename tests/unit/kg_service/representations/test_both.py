"""Both: the oracle is the weighted sum of what the hybrid and TransE say, each on its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.config import load_settings
from kg_service.representations.both import Both
from kg_service.representations.from_cards import representations_of_cards, restore
from kg_service.representations.from_settings import representations_of
from kg_service.representations.hybrid import Hybrid
from kg_service.representations.transe import PAPER, TransE
from kg_service.representations.weights import attribute_matrix
from kg_service.similarity.kernel import similarity
from nbclip.errors import InvalidInput
from support.small_graphs import graph_of, random_graphs

HYBRID = Hybrid(hub_share=1.0)
TRANSE = TransE(dimension=8, epochs=2, batch=4, negatives=2)
GRAPH = graph_of([[0], [0, 1], [2], [1, 2, 3], []], [(0, 4), (1, 5), (2, 5)], count=6)
TYPED = replace(GRAPH, relations={"part_of": np.array([(0, 2), (1, 4)], np.int32)})


def similarities(form, graph):
    rows = np.arange(len(graph.image_ids))
    return similarity(form.embed_known(graph.image_ids, attribute_matrix(graph)), rows, rows)


@settings(deadline=None, max_examples=25)
@given(random_graphs(), st.floats(0, 1), st.sampled_from(["mean", "own"]))
def test_similarity_is_the_weighted_sum_of_that_of_the_two(graph, weight, images):
    transe = replace(TRANSE, images=images)
    forms = Both(weight, HYBRID, transe).variants(graph)
    parts = [each.variants(graph) for each in (HYBRID, transe)]
    assert forms.keys() == {"dk", "dk_ek"}
    for knowledge, form in forms.items():
        first, second = (similarities(part[knowledge], graph) for part in parts)
        assert np.allclose(similarities(form, graph), (1 - weight) * first + weight * second, atol=2e-6), knowledge


@pytest.mark.parametrize("graph", [GRAPH, TYPED], ids=["is_a", "typed"])
@pytest.mark.parametrize(("weight", "pure"), [(0.0, HYBRID), (1.0, TRANSE)], ids=["hybrid", "transe"])
def test_of_weight_0_and_1_it_is_one_of_them(graph, weight, pure):
    forms, expected = Both(weight, HYBRID, TRANSE).variants(graph), pure.variants(graph)
    for knowledge in ("dk", "dk_ek"):
        assert np.allclose(similarities(forms[knowledge], graph), similarities(expected[knowledge], graph), atol=1e-6)
    assert not np.allclose(similarities(forms["dk"], graph), similarities(forms["dk_ek"], graph), atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(random_graphs(), st.floats(0, 1), st.data())
def test_parts_are_the_weighted_parts_of_the_two(graph, weight, data):
    sets = np.split(graph.attribute_indices, graph.attribute_indptr[1:-1])
    left, right = (sets[data.draw(st.sampled_from(range(len(sets))))] for _ in range(2))
    for knowledge, form in Both(weight, HYBRID, TRANSE).variants(graph).items():
        account = form.contributions(left, right)
        first, second = (part.variants(graph)[knowledge].contributions(left, right) for part in (HYBRID, TRANSE))
        assert account.additive
        assert np.array_equal(account.meeting, first.meeting)
        assert account.meeting_share == pytest.approx((1 - weight) * first.meeting_share)
        assert account.pair_share == pytest.approx((1 - weight) * first.pair_share + weight * second.pair_share)
        assert first.account in account.account
        assert second.account in account.account


def test_where_images_have_vectors_of_their_own_it_says_so_as_transe_does():
    form = Both(0.5, HYBRID, replace(TRANSE, images="own")).variants(GRAPH)["dk_ek"]
    assert not form.follows_from_concepts
    account = form.contributions(np.array([0]), np.array([1]))
    assert (account.additive, "Not additive" in account.account) == (False, True)
    assert "not by nodes of their own" in form.card()["inductive"]


@pytest.mark.parametrize("graph", [GRAPH, TYPED], ids=["is_a", "typed"])
def test_cards_and_tables_give_it_back(graph):
    method = Both(0.25, replace(HYBRID, decay=0.75), replace(TRANSE, seed=7))
    forms = method.variants(graph)
    cards = {f"both/{knowledge}": json.loads(json.dumps(form.card())) for knowledge, form in forms.items()}
    found = representations_of_cards(cards)["both"]
    assert (found.weight, found.hybrid.decay, found.transe) == (0.25, 0.75, replace(TRANSE, seed=7))
    for knowledge, form in forms.items():
        restored = restore(cards[f"both/{knowledge}"], graph.cuis, form.tables())
        again = found.variants(graph)[knowledge]
        for other in (restored, again):
            assert other.card() == form.card()
            assert np.array_equal(similarities(other, graph), similarities(form, graph))


def test_each_of_both_takes_the_parameters_that_it_knows(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KG_TRANSE_PRESET", "paper")
    monkeypatch.setenv("KG_HYBRID_DECAY", "0.75")
    monkeypatch.setenv("KG_BOTH_WEIGHT", "0.25")
    wanted = load_settings()
    assert representations_of(wanted, {"both": {}})["both"] == Both(0.25, Hybrid(decay=0.75), PAPER)
    asked = {"transe": {"epochs": 3}, "both": {"weight": 0.3, "seed": 7, "hub_share": 0.2}}
    found = representations_of(wanted, asked)
    assert found["both"] == Both(0.3, Hybrid(decay=0.75, hub_share=0.2), replace(PAPER, seed=7))
    assert found["transe"] == replace(PAPER, epochs=3)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"decoy": 1}, "both has no parameter 'decoy'.*weight, decay, .*preset, .*seed"),
        ({"hybrid": 1}, "both has no parameter 'hybrid'"),
        ({"weight": 1.5}, "both.weight=1.5"),
        ({"decay": 0}, "hybrid.decay=0"),
        ({"seed": -1}, "transe.seed=-1"),
    ],
)
def test_what_is_not_usable_is_named(monkeypatch, tmp_path, asked, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=told):
        representations_of(load_settings(), {"both": asked})
