"""Intervals against closed forms, scipy's bootstrap, and simulated experiments whose truth is known."""

import numpy as np
import pytest
import scipy.stats
from nbclip_trainer.experiments.statistics import Draws, Estimate, case_weights, estimate, holm, macro_draws, mean_of

CASES = 150


def drawn(value_SKC, *, resamples=200, seed=0):
    """Draws of runs whose cases have one query each, all of one class."""
    seeds, kg_seeds, cases = value_SKC.shape
    one_C = np.zeros(cases, np.int64)
    weights = case_weights(cases, resamples, seed)
    value_R, drawn_RB = macro_draws(value_SKC.reshape(-1, cases), np.arange(cases), one_C, weights)
    return Draws(value_R.reshape(seeds, kg_seeds), drawn_RB.reshape(seeds, kg_seeds, -1), cases)


def test_a_macro_mean_is_over_classes_and_a_case_stands_or_falls_together():
    value_RQ = np.array([[1.0, 0.0, 0.5, np.nan], [0.0, 0.0, 1.0, 1.0]])
    case_Q, stratum_Q = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    weight_BC = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    value_R, drawn_RB = macro_draws(value_RQ, case_Q, stratum_Q, weight_BC)
    assert value_R == pytest.approx([(1 + 0.25) / 2, (0 + 2 / 3) / 2])
    assert drawn_RB[0] == pytest.approx([0.5, 0.5, value_R[0]]), "the second resample has nothing of the first class"
    assert drawn_RB[1] == pytest.approx([0, 1, value_R[1]])


def test_no_query_no_mean():
    value_R, drawn_RB = macro_draws(np.full((1, 2), np.nan), np.arange(2), np.zeros(2, np.int64), case_weights(2, 100))
    assert np.isnan(value_R).all()
    assert np.isnan(drawn_RB).all()


def test_equal_runs_leave_the_bootstrap_of_cases():
    value_C = np.random.default_rng(1).exponential(size=CASES)
    found = estimate(drawn(np.broadcast_to(value_C, (3, 2, CASES)), resamples=4000))
    oracle = scipy.stats.bootstrap((value_C,), np.mean, n_resamples=4000, method="basic", rng=np.random.default_rng(2))
    assert found.standard_error == pytest.approx(oracle.standard_error, rel=0.05)
    assert found.degrees == pytest.approx(CASES - 1)
    assert found.from_cases == 1
    assert found.interval() == pytest.approx((oracle.confidence_interval.low, oracle.confidence_interval.high), abs=0.02)


def test_seeds_alone_give_the_t_interval_over_seeds():
    seed_S = np.array([0.1, 0.4, 0.2, 0.7, 0.6])
    found = estimate(drawn(np.tile(seed_S[:, None, None], (1, 1, CASES))))
    oracle = scipy.stats.ttest_1samp(seed_S, 0)
    assert found.interval() == pytest.approx(tuple(oracle.confidence_interval()))
    assert found.p() == pytest.approx(oracle.pvalue)
    assert found.from_cases == pytest.approx(0)


def test_crossed_seeds_and_kg_seeds_by_hand():
    """Seeds ±1 and KG seeds ±2 with an interaction of ±1: mean squares 4, 16 and 4, so the mean's variance is 16 / 4."""
    value_SK = np.array([[1 + 2 + 1, 1 - 2 - 1], [-1 + 2 - 1, -1 - 2 + 1]], float)
    found = estimate(drawn(np.repeat(value_SK[:, :, None], CASES, axis=2)))
    assert found.value == 0
    assert found.standard_error == pytest.approx((4 + 16 - 4) ** 0.5 / 2)
    assert found.degrees == pytest.approx(4**2 / (1**2 + 4**2 + 1**2), abs=0.2)


def test_what_runs_owe_to_their_queries_is_counted_once():
    """At most a third too wide, since a variance that comes out below 0 is taken for 0; counted three times it is 73 %."""
    noise_SKC = np.random.default_rng(3).normal(0, 1, (5, 3, 4000))
    errors = [estimate(drawn(part)).standard_error for part in np.array_split(noise_SKC, 20, axis=2)]
    assert 1 <= np.mean(errors) / (1 / (15 * 200)) ** 0.5 <= 1.35


def test_a_difference_is_paired_and_crosses_kg_seeds_with_an_arm_that_has_none():
    rng = np.random.default_rng(4)
    shared_SC = rng.normal(0, 1, (4, CASES))
    first = drawn(shared_SC[:, None, :] + np.array([0.5, 0.7])[None, :, None])
    found = estimate(first - drawn(shared_SC[:, None, :]))
    assert found.value == pytest.approx(0.6)
    assert found.standard_error == pytest.approx(0.1), "seeds and cases cancel, KG seeds stay"


def test_one_seed_has_no_interval():
    found = estimate(drawn(np.ones((1, 3, CASES))))
    assert found.value == 1
    assert np.isnan(found.interval()).all()
    assert np.isnan(found.p())


def test_the_mean_over_tasks_keeps_what_they_share():
    one = drawn(np.random.default_rng(5).normal(0, 1, (2, 1, CASES)))
    both = mean_of([one, one])
    assert estimate(both) == estimate(one)


@pytest.mark.parametrize(("against", "p"), [(0.0, 2 * scipy.stats.t.sf(2.5, 7)), (1.0, 2 * scipy.stats.t.sf(2.5, 7)), (0.5, 1.0)])
def test_p_values_agree_with_intervals(against, p):
    found = Estimate(0.5, 0.2, 7, 1)
    assert found.p(against) == pytest.approx(p)
    low, high = found.interval(1 - found.p(0.0))
    assert (low, high) == pytest.approx((0, 1), abs=1e-9)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, float("nan"), 0.005])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03, float("nan"), 0.005])[4] == pytest.approx(0.02)
    assert np.isnan(holm([0.01, float("nan")])[1])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize(
    "deviations",
    [(0.002, 0.002, 0.1, 0.15), (0.02, 0.002, 0.05, 0.1), (0.002, 0.02, 0.05, 0.1), (0.0, 0.0, 0.03, 0.2)],
    ids=["cases decide", "seeds decide", "KG seeds decide", "noise of runs decides"],
)
def test_intervals_cover(deviations):
    of_seed, of_kg_seed, of_case, of_run = deviations
    rng = np.random.default_rng(6)
    covered = []
    for trial in range(200):
        value_SKC = (
            rng.normal(0, of_seed, (5, 1, 1)) + rng.normal(0, of_kg_seed, (1, 3, 1)) + rng.normal(0, of_case, (1, 1, CASES))
        )
        low, high = estimate(drawn(value_SKC + rng.normal(0, of_run, (5, 3, CASES)), resamples=100, seed=trial)).interval()
        covered.append(low <= 0 <= high)
    assert 0.89 <= np.mean(covered) <= 0.99
