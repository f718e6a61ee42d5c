import numpy as np
import pytest
from nbclip_trainer.evaluation.bootstrap import FEWEST_CASES, intervals, median_interval

SAME = np.zeros(200, np.int64)


def one(value, cluster, stratum, **options):
    return intervals(np.asarray(value, float)[None], cluster, stratum, **options)[0]


def test_the_figure_is_the_mean_over_classes_of_the_means_within():
    result = one([1, 1, 1, 0], np.arange(4), np.array([0, 0, 0, 1]))
    assert result.value == 0.5


def test_queries_without_a_figure_do_not_count():
    result = one([1, np.nan, 0], np.arange(3), np.zeros(3, np.int64))
    assert result.value == 0.5


def test_no_query_at_all_gives_no_figure():
    assert np.isnan(one([np.nan, np.nan], np.arange(2), np.zeros(2, np.int64)).value)


def test_few_cases_have_a_figure_but_no_interval():
    few = one(np.arange(40.0), np.repeat(np.arange(FEWEST_CASES - 1), 40)[:: FEWEST_CASES - 1], np.zeros(40, np.int64))
    assert few.value == 19.5
    assert np.isnan([few.low, few.high]).all()


def test_identical_runs_differ_by_exactly_zero():
    value = np.random.default_rng(0).random(200)
    result = one(value - value, np.arange(200), SAME)
    assert (result.value, result.low, result.high) == (0, 0, 0)


def test_the_interval_of_a_mean_agrees_with_the_normal_one():
    value = np.random.default_rng(1).normal(size=200)
    result = one(value, np.arange(200), SAME, resamples=4000)
    half = 1.96 * value.std() / np.sqrt(200)
    assert [result.low, result.high] == pytest.approx([value.mean() - half, value.mean() + half], abs=0.01)


def test_queries_of_one_case_are_drawn_together():
    value = np.repeat(np.random.default_rng(2).normal(size=50), 4)
    alone = one(value, np.arange(200), SAME)
    together = one(value, np.repeat(np.arange(50), 4), SAME)
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(2, rel=0.15)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        value = generator.random(80) < 0.3
        result = one(value, np.arange(80), np.zeros(80, np.int64), resamples=300)
        covered += result.low <= 0.3 <= result.high
    assert 0.90 <= covered / 200 <= 0.985


def test_metrics_of_the_same_queries_share_their_resamples():
    value = np.random.default_rng(4).random(200)
    first, second = intervals(np.stack([value, value + 1]), np.arange(200), SAME)
    assert [second.low - 1, second.high - 1] == pytest.approx([first.low, first.high])


def test_the_seed_alone_decides_the_interval():
    value = np.random.default_rng(6).random(200)
    assert one(value, np.arange(200), SAME, seed=1) == one(value, np.arange(200), SAME, seed=1)
    assert one(value, np.arange(200), SAME, seed=1) != one(value, np.arange(200), SAME, seed=2)


def test_medians_are_those_of_the_drawn_values_themselves():
    """By repeating each value as often as its case was drawn."""
    generator = np.random.default_rng(7)
    value, cluster = generator.integers(1, 30, 41).astype(float), np.repeat(np.arange(21), 2)[:41]
    found = median_interval(value, cluster, resamples=300, level=0.9, seed=5)
    drawn = np.random.default_rng(5).multinomial(21, np.full(21, 1 / 21), size=300)
    medians = [np.median(np.repeat(value, weights[cluster])) for weights in drawn]
    assert found.value == np.median(value)
    assert [found.low, found.high] == pytest.approx(np.quantile(medians, [0.05, 0.95]))


def test_a_median_of_nothing_or_of_few_cases_has_no_interval():
    assert np.isnan(median_interval(np.array([np.nan]), np.zeros(1, np.int64)).value)
    few = median_interval(np.arange(40.0), np.arange(40) % (FEWEST_CASES - 1))
    assert few.value == 19.5
    assert np.isnan([few.low, few.high]).all()
