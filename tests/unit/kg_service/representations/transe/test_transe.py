import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.representations.transe import PAPER, PRESETS, TransE
from kg_service.representations.transe.learning import (
    HAS_ATTRIBUTE,
    IS_A,
    corruptions,
    distance,
    head_shares,
    margin_loss,
    train,
    triples_of,
)
from kg_service.representations.weights import unit_rows
from kg_service.similarity.kernel import similarity
from kg_service.similarity.rows import has_knowledge
from support.small_graphs import graph_of

CUIS = [["C0000001"], ["C0000001", "C0000002"], ["C0000003"], ["C0000004"], []]
IDS = ["a", "b", "c", "d", "e"]
SMALL = TransE(dimension=8, epochs=30, batch=4, negatives=2)

IN_ANOTHER_PROCESS = """
import sys, hashlib, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
from kg_service.representations.transe import TransE
from kg_service.representations.transe.learning import train
rng = np.random.default_rng(0)
triples = np.stack([rng.integers(60, size=400), rng.integers(2, size=400), rng.integers(60, size=400)], axis=1)
learned = train(triples, 60, 2, TransE(dimension=16, epochs=3, batch=64))
print(hashlib.sha256(learned.entity.tobytes() + learned.relation.tobytes()).hexdigest(), repr(learned.loss))
"""


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_triples_are_the_graphs_edges(five_images):
    attributes = [
        [5, HAS_ATTRIBUTE, 0],
        [6, HAS_ATTRIBUTE, 0],
        [6, HAS_ATTRIBUTE, 1],
        [7, HAS_ATTRIBUTE, 2],
        [8, HAS_ATTRIBUTE, 3],
    ]
    assert triples_of(five_images, is_a=False).tolist() == attributes
    assert triples_of(five_images, is_a=True).tolist() == [*attributes, [0, IS_A, 2], [1, IS_A, 4], [2, IS_A, 4]]


def test_distance_and_loss_are_the_formula_worked_by_hand():
    entity = torch.tensor([[3.0, 4.0], [0.0, 2.0], [-1.0, 0.0]])  # (.6, .8), (0, 1), (-1, 0) at unit length
    relation = torch.tensor([[1.0, 0.0]])
    true = torch.tensor([[0, 0, 1]])
    # (.6, .8) + (1, 0) - (0, 1) = (1.6, -.2): 1.8
    assert distance(torch.tensor([[0.6, 0.8]]), relation, entity[1:2] / 2).tolist() == pytest.approx([1.8])
    # tail -> (-1, 0): (2.6, .8); tail -> (.6, .8): (1, 0)
    loss = margin_loss((entity, relation), true, torch.tensor([[2, 0]]), torch.tensor([False]), margin=1.5)
    assert loss.tolist() == [pytest.approx([0.0, 1.5 + 1.8 - 1.0])]
    # head -> (-1, 0): (0, -1); head -> (0, 1): (1, 0)
    loss = margin_loss((entity, relation), true, torch.tensor([[2, 1]]), torch.tensor([True]), margin=1.5)
    assert loss.tolist() == [pytest.approx([1.5 + 1.8 - 1.0, 1.5 + 1.8 - 1.0])]


def test_gradients_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    entity = torch.tensor(rng.standard_normal((5, 3)), requires_grad=True)
    relation = torch.tensor(rng.standard_normal((2, 3)), requires_grad=True)
    drawn = torch.tensor([[0, 0, 1], [2, 1, 3]]), torch.tensor([[4, 3], [0, 1]]), torch.tensor([True, False])
    margin_loss((entity, relation), *drawn, margin=3.0).mean().backward()
    for table in (entity, relation):
        for row in range(len(table)):
            shifted = table.detach().clone()
            values = []
            for step in (1e-6, -1e-6):
                shifted[row, 1] = table.detach()[row, 1] + step
                tables = (shifted, relation.detach()) if table is entity else (entity.detach(), shifted)
                values.append(margin_loss(tables, *drawn, margin=3.0).mean().item())
            assert table.grad.to_dense()[row, 1].item() == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)


def test_bernoulli_replaces_the_end_that_is_less_often_right():
    # one head has four tails (tph 4, hpt 1): its head is replaced in 4/5 of the cases; the other way round in 1/5
    triples = np.array([[0, 0, tail] for tail in range(1, 5)] + [[head, 1, 0] for head in range(1, 5)])
    assert head_shares(triples, 3).tolist() == pytest.approx([0.8, 0.2, 0.5])
    other, is_head = corruptions(np.random.default_rng(0), np.repeat(triples, 2_000, axis=0), 100, 3, head_shares(triples, 2))
    assert is_head.reshape(2, -1).mean(axis=1).tolist() == pytest.approx([0.8, 0.2], abs=0.02)
    assert other.shape == (16_000, 3)
    assert np.bincount(other.ravel(), minlength=100).min() > 0.7 * other.size / 100


def test_what_is_learned_ranks_true_triples_first():
    # a line: i is before i + 1; a translation fits exactly
    triples = np.array([[i, 0, i + 1] for i in range(11)])
    learned = train(triples, 12, 1, TransE(dimension=16, epochs=400, batch=8, margin=2.0, rate=0.1))
    place, step = unit_rows(learned.entity), unit_rows(learned.relation)[0]
    for head, _, tail in triples.tolist():
        apart = np.abs(place[head] + step - place).sum(axis=1)
        assert (np.delete(apart, [head, tail]) < apart[tail]).sum() <= 2
    assert learned.loss < 0.5 * train(triples, 12, 1, TransE(dimension=16, epochs=1, batch=8, margin=2.0)).loss


def test_a_new_image_is_the_weighted_mean_of_its_concepts(five_images):
    fitted = SMALL.fit(five_images)
    learned = train(triples_of(five_images, is_a=True), 10, 2, SMALL)
    weight = {0: np.log(6 / 2.5), 1: np.log(6 / 1.5)}
    expected = unit(
        sum(w * (unit(learned.entity[c].astype(float)) - unit(learned.relation[0].astype(float))) for c, w in weight.items())
    )
    vectors = fitted.embed(["new", "unknown"], [["C0000002", "C0000001", "C9999999"], ["C9999999"]])
    assert np.allclose(vectors.dense, [expected, np.zeros(8)], atol=1e-6)
    assert has_knowledge(vectors, np.arange(2)).tolist() == [True, False]


def test_images_of_the_graph_can_have_the_vectors_of_their_nodes(five_images):
    own = replace(SMALL, images="own").fit(five_images)
    learned = train(triples_of(five_images, is_a=True), 10, 2, SMALL)
    vectors = own.embed(["a", "new", "e"], [["C0000001"], ["C0000001"], []])
    assert np.allclose(vectors.dense[0], unit(learned.entity[5].astype(float)), atol=1e-6)
    assert np.allclose(vectors.dense[1], SMALL.fit(five_images).embed(["a"], [["C0000001"]]).dense[0])
    assert has_knowledge(vectors, np.arange(3)).tolist() == [True, True, False]  # e has no concept: its node was never learned


def test_dk_knows_nothing_of_the_ontology(five_images):
    forms = SMALL.variants(five_images)
    cut = SMALL.fit(replace(five_images, is_a=np.zeros((0, 2), np.int32)))
    assert np.array_equal(forms["dk"].embed(IDS, CUIS).dense, cut.embed(IDS, CUIS).dense)
    assert not np.array_equal(forms["dk"].embed(IDS, CUIS).dense, forms["dk_ek"].embed(IDS, CUIS).dense)
    assert (forms["dk"].card()["triples"], forms["dk_ek"].card()["triples"]) == (5, 8)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from(["mean", "own"]), st.sampled_from(["bernoulli", "uniform"]))
def test_similarity_is_symmetric_semidefinite_and_bounded(five_images, seed, images, sampling):
    fitted = replace(SMALL, seed=seed, images=images, sampling=sampling, epochs=2).fit(five_images)
    vectors = fitted.embed(IDS, CUIS)
    rows = np.arange(5)
    sim = similarity(vectors, rows, rows)
    assert np.array_equal(sim, sim.T)
    assert np.abs(sim).max() <= 1
    assert (np.diag(sim) == 1).all()
    assert np.linalg.eigvalsh(sim.astype(float)).min() > -1e-5


def test_another_process_with_other_threads_gives_the_same_bits():
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    first, second = (subprocess.run([*command, threads], capture_output=True, text=True, check=True).stdout for threads in "12")
    assert first.splitlines()[-1] == second.splitlines()[-1]
    assert len(first.splitlines()[-1]) > 64


def test_the_seed_decides():
    triples = np.array([[0, 0, 1], [1, 0, 2]])
    one, two = (train(triples, 3, 1, replace(SMALL, seed=seed)).entity for seed in (1, 2))
    assert not np.array_equal(one, two)


def test_the_presets_are_those_of_the_literature():
    assert (PAPER.dimension, PAPER.margin, PAPER.negatives, PAPER.sampling, PAPER.epochs) == (512, 5.0, 25, "bernoulli", 6_000)
    assert {"fast": TransE(), "paper": PAPER} == PRESETS


def test_each_typed_relation_has_a_vector_of_its_own():
    edges = {"has_finding_site": np.array([(0, 1)], np.int32), "part_of": np.array([(1, 2), (1, 3)], np.int32)}
    typed = replace(graph_of([[0], [1]], [(0, 2)], count=4), relations=edges)
    assert triples_of(typed, is_a=True).tolist() == [
        *([4, HAS_ATTRIBUTE, 0], [5, HAS_ATTRIBUTE, 1], [0, IS_A, 2]),
        *([0, 2, 1], [1, 3, 2], [1, 3, 3]),
    ]
    plain = replace(typed, relations={})
    assert triples_of(typed, is_a=False).tolist() == triples_of(plain, is_a=False).tolist()
    with_them, without = SMALL.variants(typed), SMALL.variants(plain)
    assert (with_them["dk_ek"].triples, without["dk_ek"].triples) == (6, 3)
    assert np.array_equal(with_them["dk"].concept, without["dk"].concept)
