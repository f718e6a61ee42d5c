import itertools

import numpy as np
import pytest
from nbclip_trainer.evaluation.ranking import NOTHING, rank
from nbclip_trainer.evaluation.retrieval import average_precision, chance_figures, class_figures, precision_at, relevance
from sklearn.metrics import average_precision_score


@pytest.fixture(scope="module")
def task():
    """60 images of 4 classes in 30 cases of two, with most cosines negative."""
    generator = np.random.default_rng(5)
    feature = generator.normal(size=(60, 8)).astype(np.float32)
    feature[:, 0] = generator.choice([-3, 3], 60)
    feature /= np.linalg.norm(feature, axis=1, keepdims=True)
    case = np.repeat(np.arange(30), 2)
    (ranking,) = rank(feature, feature, case, case)
    label = generator.integers(0, 4, 60)
    return ranking, case, label, relevance(ranking.index, label, label)


@pytest.fixture(scope="module")
def oracle(task, ranx_scores):
    ranking, case, label, _ = task
    judgements = {f"q{q}": {f"g{g}": 1 for g in range(60) if label[g] == label[q] and case[g] != case[q]} for q in range(60)}
    # Falling ranks instead of cosines: ranx leaves the order of ties open.
    run = {f"q{q}": {f"g{g}": 100 - place for place, g in enumerate(ranking.index[q]) if g != NOTHING} for q in range(60)}
    return ranx_scores(judgements, run, ["precision@1", "precision@5", "precision@10", "precision@30", "map"])


@pytest.mark.parametrize("k", [1, 5, 10, 30])
def test_precision_agrees_with_ranx_per_query(task, oracle, k):
    ours = precision_at(task[3], k)
    assert {f"q{q}": value for q, value in enumerate(ours)} == pytest.approx(oracle[f"precision@{k}"])


def test_average_precision_agrees_with_ranx_per_query(task, oracle):
    ours = average_precision(task[3])
    assert {f"q{q}": value for q, value in enumerate(ours)} == pytest.approx(oracle["map"])


def test_average_precision_agrees_with_scikit_learn(task):
    ranking, _, _, relevant = task
    for query in range(60):
        kept = ranking.index[query] != NOTHING
        expected = average_precision_score(relevant[query][kept], ranking.score[query][kept])
        assert average_precision(relevant[query : query + 1])[0] == pytest.approx(expected)


def test_hits_with_negative_cosine_count():
    query, gallery = np.array([[1, 0]], np.float32), np.array([[-1, 0], [-0.6, 0.8]], np.float32)
    (ranking,) = rank(query, gallery, np.array([-1]), np.arange(2))
    relevant = relevance(ranking.index, np.array([1]), np.array([1, 0]))
    assert (ranking.score < 0).all()
    assert precision_at(relevant, 2).tolist() == [0.5]
    assert average_precision(relevant).tolist() == [0.5]


def test_precision_is_over_k_even_where_fewer_were_retrieved():
    relevant = relevance(np.array([[0, 1, NOTHING]]), np.array([3]), np.array([3, 3]))
    assert relevant.tolist() == [[True, True, False]]
    assert precision_at(relevant, 5).tolist() == [0.4]


def test_a_query_without_relevant_candidates_has_no_figure():
    figures = class_figures(np.array([[False, False], [True, False]]), (1,))
    assert np.isnan(figures["P@1"]).tolist() == np.isnan(figures["mAP"]).tolist() == [True, False]


@pytest.mark.parametrize(("relevant", "candidates"), [(1, 4), (2, 5), (5, 5), (3, 6)])
def test_chance_is_the_mean_over_every_order(relevant, candidates):
    orders = np.array(sorted(set(itertools.permutations([True] * relevant + [False] * (candidates - relevant)))))
    chance = chance_figures(np.array([relevant]), np.array([candidates]), (1, 3, 8))
    assert chance["mAP"][0] == pytest.approx(average_precision(orders).mean())
    for k in (1, 3, 8):
        assert chance[f"P@{k}"][0] == pytest.approx(precision_at(orders, k).mean())


def test_chance_has_no_figure_without_relevant_candidates():
    chance = chance_figures(np.array([0]), np.array([4]), (1,))
    assert all(np.isnan(value).all() for value in chance.values())
