import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kg_service.graph.store import Graph
from kg_service.representations.hybrid import Hybrid, cooccurrence
from kg_service.representations.hybrid.cooccurrence import cooccurrence_vectors
from kg_service.representations.hybrid.hybrid import restore_hybrid
from kg_service.representations.hybrid.redundancy import overlaps
from kg_service.representations.weights import together
from kg_service.similarity.kernel import similarity
from kg_service.similarity.rows import has_knowledge
from scipy import sparse

CUIS = [["C0000001"], ["C0000001", "C0000002"], ["C0000003"], ["C0000004"], []]
IDS = ["a", "b", "c", "d", "e"]


def similarities(fitted, ids=IDS, cuis=CUIS):
    vectors = fitted.embed(ids, cuis)
    rows = np.arange(len(ids))
    return similarity(vectors, rows, rows)


def cosine(left, right):
    def dot(one, other):
        return sum(weight * other.get(concept, 0.0) for concept, weight in one.items())

    return dot(left, right) / math.sqrt(dot(left, left) * dot(right, right))


def idf(df):
    return max(0.05, math.log(6 / (df + 0.5)))


def test_dk_is_the_cosine_of_weighted_concepts(five_images):
    sim = similarities(Hybrid(ancestors=False, smoothing=0, redundancy=0).fit(five_images))
    # pneumonia stands in two images (a, b), every other concept in one
    a = {1: idf(2) ** 1.5}
    b = {1: idf(2) ** 1.5, 2: idf(1) ** 1.5}
    assert sim[0, 1] == pytest.approx(cosine(a, b), abs=1e-6)
    expected = np.eye(5)
    expected[0, 1] = expected[1, 0] = cosine(a, b)
    assert np.allclose(sim, expected, atol=1e-6)


def test_dk_ek_reaches_ancestors_as_worked_out_by_hand(five_images):
    sim = similarities(Hybrid(smoothing=0, hub_share=1.0, redundancy=0, ancestor_weight=3, shrinkage=4).fit(five_images))
    # images under each concept: pneumonia 2 (a, b), effusion 1 (b), lung disease 3 (a, b, c), fracture 1 (d), disease 3 (a, b, c)
    top = math.log(6 / 1.5)
    content = {3: math.log(6 / 3.5) / top, 5: math.log(6 / 3.5) / top}
    unit = math.log(6)
    # ancestors weigh 3 · 4/(df + 4)
    spread = {
        1: {1: idf(2) / unit, 3: 3 * 4 / 6 * 0.5 * content[3], 5: 3 * 4 / 6 * 0.25 * content[5]},
        2: {2: idf(1) / unit, 5: 3 * 4 / 5 * 0.5 * content[5]},
        3: {3: idf(1) / unit, 5: 3 * 4 / 5 * 0.5 * content[5]},
        4: {4: idf(1) / unit},
    }
    weight = {1: idf(2) ** 0.5, 2: idf(1) ** 0.5, 3: idf(1) ** 0.5, 4: idf(1) ** 0.5}

    def vector(*concepts):
        total = {}
        for concept in concepts:
            for reached, share in spread[concept].items():
                total[reached] = total.get(reached, 0.0) + weight[concept] * share
        return total

    images = [vector(1), vector(1, 2), vector(3), vector(4)]
    expected = np.eye(5)
    for i in range(4):
        for j in range(4):
            expected[i, j] = 1.0 if i == j else cosine(images[i], images[j])
    assert expected[0, 2] > 0.1  # pneumonia and lung disease meet only through is_a
    assert np.allclose(sim, expected, atol=1e-6)


def test_concepts_that_stand_together_share_their_weight(five_images):
    sim = similarities(Hybrid(ancestors=False, smoothing=0, redundancy=2).fit(five_images))
    # pneumonia is in a and b, effusion in b: of 2 images 1 has both
    a = {1: idf(2) ** 1.5}
    b = {1: idf(2) ** 1.5 / (1 + 2 * 1 / 2), 2: idf(1) ** 1.5 / (1 + 2 * 1 / 2)}
    assert sim[0, 1] == pytest.approx(cosine(a, b), abs=1e-6)  # both weights of b change alike: the cosine does not

    three = replace(
        five_images,
        attribute_indptr=np.array([0, 3, 5, 6, 7, 7], np.int64),
        attribute_indices=np.array([0, 1, 3, 0, 1, 3, 2], np.int32),
    )  # a: 1, 2, 4   b: 1, 2   c: 4   d: 3
    cuis = [["C0000001", "C0000002", "C0000004"], ["C0000001", "C0000002"], ["C0000004"], ["C0000003"], []]
    sim = similarities(Hybrid(ancestors=False, smoothing=0, redundancy=2).fit(three), cuis=cuis)
    # J(1, 2) = 2/2, J(1, 4) = J(2, 4) = 1/3 is left out; every one of the three is in two images, so idf cancels out
    a = {1: 1 / (1 + 2 * 1), 2: 1 / (1 + 2 * 1), 4: 1}
    assert sim[0, 1] == pytest.approx(cosine(a, {1: 1, 2: 1}), abs=1e-6)
    assert sim[0, 2] == pytest.approx(cosine(a, {4: 1}), abs=1e-6)
    assert sim[0, 2] > 1 / math.sqrt(3)  # without sharing the two would outvote the one


def test_few_captions_say_little_of_what_stands_beside_a_concept(five_images):
    some, more = (Hybrid(shrinkage=each).fit(five_images).cooccurrence for each in (1, 3))
    # pneumonia stands in two images, effusion in one; the other concepts never stand beside another
    assert np.allclose(more[0], some[0] * (2 / 5) / (2 / 3))
    assert np.allclose(more[1], some[1] * (1 / 4) / (1 / 2))
    assert np.abs(some[:2]).max() > 0


def test_frequent_concepts_weigh_more_in_the_cooccurrence_part(five_images):
    of, as_one = (Hybrid(smoothing_frequency=each).fit(five_images) for each in (0.5, 0))
    assert np.allclose(of.cooccurrence[0], as_one.cooccurrence[0] * math.sqrt(2))
    assert np.allclose(of.cooccurrence[1:], as_one.cooccurrence[1:])
    assert "smoothing_frequency" not in as_one.card(), "snapshots of before have no such weight, and keep their ids"
    assert restore_hybrid(as_one.card(), as_one.cuis, as_one.tables()).parameters == as_one.parameters
    assert restore_hybrid(of.card(), of.cuis, of.tables()).parameters == of.parameters


def test_overlaps_are_the_jaccard_index_from_a_half_on():
    rng = np.random.default_rng(0)
    base = set(range(40))
    sets = [{n for n in base if rng.random() < share} for share in (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)]
    attributes = sparse.csr_array(np.array([[float(n in s) for s in sets] for n in range(60)]))
    jaccard = np.array([[len(s & t) / len(s | t) if s is not t else 0 for t in sets] for s in sets])
    assert 5 < (jaccard >= 0.5).sum() < 25
    assert np.allclose(overlaps(together(attributes)).toarray(), np.where(jaccard >= 0.5, jaccard, 0))


def test_an_ancestor_over_too_many_images_is_dropped(five_images):
    everywhere = similarities(Hybrid(ancestors=True, smoothing=0, hub_share=0.5).fit(five_images))
    assert np.allclose(everywhere, similarities(Hybrid(ancestors=False, smoothing=0).fit(five_images)), atol=1e-6)


def test_the_shortest_of_two_is_a_paths_counts(five_images):
    shortcut = replace(five_images, is_a=np.array([[0, 2], [0, 4], [1, 4], [2, 4]], np.int32))
    spread = Hybrid(ancestors=True, smoothing=0, hub_share=1.0).fit(shortcut).spread.toarray()
    assert spread[0, 4] == pytest.approx(4 * 10 / 12 * 0.5 * math.log(6 / 3.5) / math.log(6 / 1.5))


def test_max_distance_cuts_the_path(five_images):
    spread = Hybrid(smoothing=0, hub_share=1.0, max_distance=1).fit(five_images).spread.toarray()
    assert spread[0, 2] > 0
    assert spread[0, 4] == 0


def test_a_new_caption_has_the_vector_of_an_image_with_the_same_cuis(five_images):
    fitted = Hybrid(hub_share=1.0).fit(five_images)
    vectors = fitted.embed(["b", "new"], [["C0000002", "C0000001"], ["C0000001", "C0000002", "C9999999", "C0000001"]])
    assert similarity(vectors, np.array([0]), np.array([1]))[0, 0] == pytest.approx(1.0)


def test_an_image_without_known_cuis_has_no_vector(five_images):
    vectors = Hybrid().fit(five_images).embed(["x", "y", "a"], [[], ["C9999999"], ["C0000001"]])
    assert has_knowledge(vectors, np.arange(3)).tolist() == [False, False, True]


def test_ppmi_of_two_concepts_by_hand():
    # C0 and C1 stand together twice, C0 and C2 once: counts 0: 3, 1: 2, 2: 1
    attributes = sparse.csr_array(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]], float))
    context = [3**0.75, 2**0.75, 1.0]
    ppmi = np.zeros((3, 3))
    for row, column, count, total in [(0, 1, 2, 3), (0, 2, 1, 3), (1, 0, 2, 2), (2, 0, 1, 1)]:
        ppmi[row, column] = max(0.0, math.log(count * sum(context) / (total * context[column])))
    left, strength, _ = np.linalg.svd(ppmi)
    vectors = cooccurrence_vectors(together(attributes), 2)
    expected = (left * strength) @ left.T
    residual = strength[2] * np.outer(left[:, 2], left[:, 2])
    assert np.allclose(vectors @ vectors.T, expected - residual, atol=1e-6)


def test_of_too_many_pairs_the_most_frequent_ones_are_looked_at(monkeypatch):
    # C0 and C1 stand together three times, C1 and C2 twice, C0 and C2, C2 and C3 once
    rows = [[1, 1, 0, 0]] * 2 + [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    frequent = [[1, 1, 0, 0]] * 3 + [[0, 1, 1, 0]] * 2
    whole, part = (together(sparse.csr_array(np.array(each, float))) for each in (rows, frequent))
    for limit, expected in ((4, whole), (3, part), (2, part)):
        monkeypatch.setattr(cooccurrence, "_PAIRS_UP_TO", limit)
        assert np.allclose(cooccurrence_vectors(whole, 4), cooccurrence_vectors(expected, 4))


def test_the_sparse_solver_agrees_with_the_dense_one():
    rng = np.random.default_rng(0)
    topics = rng.random((400, 6)) @ rng.random((6, 260))
    attributes = sparse.csr_array((topics > np.quantile(topics, 0.97)).astype(float))
    few = cooccurrence_vectors(together(attributes), 8)
    all_of_them = cooccurrence_vectors(together(attributes), 260)
    assert np.allclose(np.abs(few), np.abs(all_of_them[:, :8]), atol=1e-4)


@pytest.mark.parametrize("dense_up_to", [0, 1_000])
def test_a_concept_that_no_vector_reaches_has_none_and_no_rounding_in_its_place(monkeypatch, dense_up_to):
    monkeypatch.setattr(cooccurrence, "_DENSE_UP_TO", dense_up_to)
    rng = np.random.default_rng(0)
    common = [np.isin(range(33), rng.choice(30, 3, replace=False)) for _ in range(200)]
    attributes = sparse.csr_array(np.array([*common, np.arange(33) >= 30], float))
    vectors = cooccurrence_vectors(together(attributes), 1)
    assert np.flatnonzero(vectors.any(axis=1)).tolist() == [30, 31, 32]


@st.composite
def graphs(draw):
    concepts = draw(st.integers(1, 8))
    rows = draw(st.lists(st.sets(st.integers(0, concepts - 1)), min_size=1, max_size=8))
    edges = draw(st.sets(st.tuples(st.integers(0, concepts - 1), st.integers(0, concepts - 1)).filter(lambda e: e[0] < e[1])))
    return Graph(
        image_ids=tuple(f"i{index}" for index in range(len(rows))),
        caption_sha256=tuple("0" * 64 for _ in rows),
        cuis=tuple(f"C{index:07d}" for index in range(concepts)),
        attribute_indptr=np.cumsum([0, *map(len, rows)], dtype=np.int64),
        attribute_indices=np.array([index for row in rows for index in sorted(row)], np.int32),
        is_a=np.array(sorted(edges), np.int32).reshape(-1, 2),
        linkers=(),
    ), [[f"C{index:07d}" for index in row] for row in rows]


@settings(deadline=None)
@given(graphs(), st.booleans(), st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 1.0]))
def test_similarity_is_symmetric_semidefinite_and_bounded(graph_and_cuis, ancestors, smoothing, redundancy):
    graph, cuis = graph_and_cuis
    fitted = Hybrid(ancestors=ancestors, smoothing=smoothing, hub_share=1.0, redundancy=redundancy).fit(graph)
    sim = similarities(fitted, graph.image_ids, cuis)
    assert np.array_equal(sim, sim.T)
    assert (np.diag(sim) == 1).all()
    assert np.abs(sim).max() <= 1
    assert np.linalg.eigvalsh(sim.astype(float)).min() > -1e-5
    assert has_knowledge(fitted.embed(graph.image_ids, cuis), np.arange(len(cuis))).tolist() == [bool(row) for row in cuis]


def test_taking_the_ancestors_away_is_fitting_without_them(five_images):
    derived = Hybrid(hub_share=1.0).fit(five_images).without_ancestors()
    fitted = Hybrid(hub_share=1.0, ancestors=False).fit(five_images)
    assert derived.parameters == fitted.parameters
    assert similarities(derived).tobytes() == similarities(fitted).tobytes()


def test_an_ancestor_at_the_hub_share_stays(five_images):
    # lung disease and disease stand, with their descendants, in 3 of 5 images
    spread = Hybrid(smoothing=0, hub_share=0.6).fit(five_images).spread.toarray()
    assert spread[0, 2] > 0


def test_few_captions_over_many_concepts_give_the_same_bits_each_time():
    rng = np.random.default_rng(1)
    attributes = sparse.csr_array((rng.random((12, 400)) < 0.1).astype(float))
    first, again = (cooccurrence_vectors(together(attributes), 64).tobytes() for _ in range(2))
    assert first == again
