import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from kg_service.representations.transe import PAPER, PRESETS, TransE
from kg_service.representations.transe.descent import Drawn, Table, descend, margin_loss, workspace
from kg_service.representations.transe.learning import (
    HAS_ATTRIBUTE,
    IS_A,
    corruptions,
    head_shares,
    train,
    triples_of,
)
from kg_service.representations.transe.transe import TransESettings
from kg_service.representations.weights import unit_rows
from kg_service.similarity.kernel import similarity
from kg_service.similarity.rows import has_knowledge

CUIS = [["C0000001"], ["C0000001", "C0000002"], ["C0000003"], ["C0000004"], []]
IDS = ["a", "b", "c", "d", "e"]
SMALL = TransE(dimension=8, epochs=30, batch=4, negatives=2)

IN_ANOTHER_PROCESS = """
import sys, hashlib, numba, numpy as np
numba.set_num_threads(int(sys.argv[1]))
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


def reference_loss(entity, relation, drawn, margin, norm):
    """max(0, margin + d(true) - d(corrupted)), in float64, [B, n]."""
    entity, relation = (table / np.linalg.norm(table, axis=1, keepdims=True) for table in (entity, relation))

    def distance(heads, relations, tails):
        return np.linalg.norm(entity[heads] + relation[relations] - entity[tails], ord=norm, axis=-1)

    heads, relations, tails = (drawn.true[:, column, None] for column in range(3))
    corrupted = np.where(drawn.is_head[:, None], distance(drawn.other, relations, tails), distance(heads, relations, drawn.other))
    return np.maximum(0, margin + distance(heads, relations, tails) - corrupted)


def reference_gradient(tables, at, drawn, margin, norm):
    """Of the mean loss by one table, by finite differences."""
    gradient = np.zeros_like(tables[at])
    for place in np.ndindex(*gradient.shape):
        means = []
        for step in (1e-6, -1e-6):
            shifted = [table.copy() for table in tables]
            shifted[at][place] += step
            means.append(reference_loss(*shifted, drawn, margin, norm).mean())
        gradient[place] = (means[0] - means[1]) / 2e-6
    return gradient


def random_batch(rng, entities, relations, triples, negatives):
    ends = [rng.integers(entities, size=triples) for _ in range(2)]
    true = np.stack([ends[0], rng.integers(relations, size=triples), ends[1]], axis=1)
    return Drawn(true, rng.integers(entities, size=(triples, negatives)), rng.random(triples) < 0.5)


def tables_of(rng, optimiser, *rows):
    starts = [rng.standard_normal((count, 5)).astype(np.float32) for count in rows]
    return [Table(start, np.zeros_like(start if optimiser == "adagrad" else start[:0])) for start in starts]


def test_the_loss_is_the_formula_worked_by_hand():
    entity = np.array([[3, 4], [0, 2], [-1, 0]], np.float32)  # (.6, .8), (0, 1), (-1, 0) at unit length
    relation, true = np.array([[1, 0]], np.float32), np.array([[0, 0, 1]])
    # (.6, .8) + (1, 0) - (0, 1) = (1.6, -.2): 1.8; tail -> (-1, 0): (2.6, .8); tail -> (.6, .8): (1, 0)
    loss = margin_loss(entity, relation, Drawn(true, np.array([[2, 0]]), np.array([False])), 1.5, 1)
    assert loss.tolist() == [pytest.approx([0.0, 1.5 + 1.8 - 1.0])]
    # head -> (-1, 0): (0, -1); head -> (0, 1): (1, 0)
    loss = margin_loss(entity, relation, Drawn(true, np.array([[2, 1]]), np.array([True])), 1.5, 1)
    assert loss.tolist() == [pytest.approx([1.5 + 1.8 - 1.0, 1.5 + 1.8 - 1.0])]
    loss = margin_loss(entity, relation, Drawn(true, np.array([[2, 1]]), np.array([True])), 1.5, 2)
    assert loss.tolist() == [pytest.approx([1.5 + 2.6**0.5 - 1.0, 1.5 + 2.6**0.5 - 1.0])]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from(["sgd", "adagrad"]), st.floats(0.1, 5))
def test_a_step_goes_down_the_gradient_of_finite_differences(seed, norm, optimiser, margin):
    rng = np.random.default_rng(seed)
    entity, relation = tables_of(rng, optimiser, 7, 2)
    before = [table.vectors.astype(np.float64) for table in (entity, relation)]
    drawn = random_batch(rng, 7, 2, triples=6, negatives=3)
    loss = reference_loss(*before, drawn, margin, norm)
    expected = [reference_gradient(before, at, drawn, margin, norm) for at in (0, 1)]
    given_ = [array.copy() for array in drawn]
    total = descend(entity, relation, workspace(7, 2, 5, 30), drawn, margin=margin, norm=norm, rate=0.1)
    assert total == pytest.approx(loss.sum(), rel=1e-5, abs=1e-5)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, given_, strict=True))
    assume(not ((loss > 0) & (loss < 1e-4)).any())  # at the hinge's edge differences say nothing
    for table, start, gradient in zip((entity, relation), before, expected, strict=True):
        moved = (start - table.vectors) / 0.1
        scaled = gradient if optimiser == "sgd" else np.sign(gradient) * (np.abs(gradient) > 1e-5)
        near = np.abs(gradient) < 1e-5 if optimiser == "adagrad" else np.zeros(gradient.shape, bool)
        np.testing.assert_allclose(moved[~near], scaled[~near], atol=2e-4)


def test_rows_that_a_batch_does_not_name_stay_and_the_workspace_is_left_as_it_was():
    rng = np.random.default_rng(3)
    entity, relation = tables_of(rng, "adagrad", 50, 3)
    start, space = entity.vectors.copy(), workspace(50, 3, 5, 20)
    drawn = random_batch(rng, 10, 1, triples=4, negatives=3)
    descend(entity, relation, space, drawn, margin=5.0, norm=1, rate=0.1)
    assert np.array_equal(entity.vectors[10:], start[10:])
    assert not np.array_equal(entity.vectors[:10], start[:10])
    assert (space.slot == -1).all()


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


@settings(max_examples=10, deadline=None)
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


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_in_either_norm_true_triples_come_first(norm):
    triples = np.array([[i, 0, i + 1] for i in range(11)])
    how = {"dimension": 16, "batch": 8, "norm": norm, "margin": 2.0 if norm == "l1" else 0.5}
    assert train(triples, 12, 1, TransE(epochs=200, **how)).loss < 0.6 * train(triples, 12, 1, TransE(epochs=1, **how)).loss


def test_what_is_set_is_set_over_the_preset():
    settings = TransESettings(preset="paper", images="mean", dimension=32, margin=1.0, norm="l2", negatives=3, epochs=7, seed=5)
    chosen = {"images": "mean", "dimension": 32, "margin": 1.0, "norm": "l2", "negatives": 3, "epochs": 7, "seed": 5}
    assert settings.representation() == replace(PAPER, **chosen)
    assert TransESettings(images="own").representation() == replace(TransE(), images="own")


def test_the_presets_are_those_of_the_literature():
    assert (PAPER.dimension, PAPER.margin, PAPER.negatives, PAPER.sampling, PAPER.epochs) == (512, 5.0, 25, "bernoulli", 6_000)
    assert {"fast": TransE(), "paper": PAPER} == PRESETS
