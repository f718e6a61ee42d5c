"""The half-split test and its measures, against hand-worked figures and other implementations."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import cosine_similarity

FOLDER = Path(__file__).parents[3] / "benchmarks" / "targets"


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules, which import each other as scripts do."""
    names = ("corpus", "halves", "measures", "trials")
    held = {name: sys.modules.pop(name, None) for name in (*names, "methods")}
    sys.path.insert(0, str(FOLDER))
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    sys.path.remove(str(FOLDER))
    for name, module in held.items():
        sys.modules.pop(name, None)
        if module:
            sys.modules[name] = module


@pytest.fixture(scope="module")
def images(bench):
    rng = np.random.default_rng(0)
    rows = [frozenset(f"C{cui:07d}" for cui in rng.choice(40, 6, replace=False)) for _ in range(90)]
    # C0000100 and C0000101 always come together
    rows = [row | {"C0000100", "C0000101"} if index % 9 == 0 else row for index, row in enumerate(rows)]
    return [bench.corpus.Image(f"i{n:03d}", "", f"a{n // 2}", row) for n, row in enumerate(rows)]


def test_ncg_and_precision_by_hand(bench):
    gain = np.array([[0, 0.5, 0.2, 0], [0.5, 0, 0, 0], [0.2, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    sim = np.array([[1, 0.1, 0.9, 0.5], [0.1, 1, 0.2, 0.3], [0.9, 0.2, 1, 0], [0.5, 0.3, 0, 1]], np.float32)
    order = bench.measures.ranking(sim, 2)
    assert order[0].tolist() == [2, 3]
    assert bench.measures.ncg(order, gain, 2).tolist() == [pytest.approx(0.2 / 0.7), 0, 1, pytest.approx(np.nan, nan_ok=True)]
    assert bench.measures.precision(order, gain > 0, 2)[:3].tolist() == [0.5, 0, 0.5]
    assert np.isnan(bench.measures.precision(order, gain > 0, 2)[3])


def test_ties_are_ordered_alike_for_every_method(bench):
    first, again = (bench.measures.ranking(np.zeros((50, 50), np.float32), 10) for _ in range(2))
    assert np.array_equal(first, again)
    assert (first != np.arange(50)[:, None]).all()
    assert len(np.unique(first)) == 50  # no image is favoured by its place


def test_spearman_is_scipys(bench):
    rng = np.random.default_rng(0)
    sim, gain = (np.round(rng.random((12, 12)), 1).astype(np.float32) for _ in range(2))
    found = bench.measures.spearman(sim, gain)
    for row in range(12):
        others = np.arange(12) != row
        assert found[row] == pytest.approx(stats.spearmanr(sim[row, others], gain[row, others]).statistic)


def test_the_interval_is_that_of_a_paired_t_test(bench):
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 600)
    better = base + rng.normal(0.1, 1, 600)
    mean, low, high = bench.measures.paired_interval(better, base, np.arange(600))
    expected = stats.ttest_rel(better, base).confidence_interval()
    assert mean == pytest.approx((better - base).mean())
    assert (low, high) == (pytest.approx(expected.low, abs=0.015), pytest.approx(expected.high, abs=0.015))


def test_images_of_one_article_are_drawn_together(bench):
    rng = np.random.default_rng(0)
    once = rng.normal(0, 1, 200)
    alone = bench.measures.paired_interval(once, np.zeros(200), np.arange(200))
    fivefold = bench.measures.paired_interval(np.repeat(once, 5), np.zeros(1000), np.repeat(np.arange(200), 5))
    assert fivefold == pytest.approx(alone)


def test_concepts_that_come_together_are_on_one_side(bench, images):
    groups = bench.halves.concept_groups(images)
    assert groups["C0000100"] == groups["C0000101"]
    assert len(set(groups.values())) == len(groups) - 1
    for seed in range(8):
        shown = {cui for row in bench.halves.trial(images, images, groups, seed, False, 30).seen for cui in row}
        assert ("C0000100" in shown) == ("C0000101" in shown)


def test_what_is_shown_and_what_judges_never_meet(bench, images):
    groups = bench.halves.concept_groups(images)
    one, other = (bench.halves.trial(images, images, groups, 3, swapped, 30) for swapped in (False, True))
    for image, row, rest in zip(images, one.seen, other.seen, strict=True):
        assert not set(row) & set(rest)
        assert set(row) | set(rest) == image.cuis
    assert sorted(np.concatenate([pool.rows for pool in one.pools]).tolist()) == list(range(90))


def test_the_gain_is_the_cosine_of_the_hidden_concepts(bench, images):
    groups = bench.halves.concept_groups(images)
    trial = bench.halves.trial(images, images, groups, 3, False, 30)
    hidden = [sorted(image.cuis - set(row)) for image, row in zip(images, trial.seen, strict=True)]
    columns = sorted({cui for row in hidden for cui in row})
    df = np.array([sum(cui in row for row in hidden) for cui in columns])
    bag = np.array(
        [[(cui in row) * np.log(91 / (count + 0.5)) for cui, count in zip(columns, df, strict=True)] for row in hidden]
    )
    pool = trial.pools[1]
    expected = cosine_similarity(bag[pool.rows])
    np.fill_diagonal(expected, 0)
    assert np.allclose(pool.gain, expected, atol=1e-5)
    rare = bag[:, df <= 4.5][pool.rows] > 0
    shared = (rare.astype(int) @ rare.T.astype(int)) > 0
    np.fill_diagonal(shared, False)
    assert np.array_equal(pool.rare, shared)


def test_damage_is_as_much_as_is_said(bench, images):
    trial = bench.halves.Trial([[f"C{n:07d}" for n in range(20)] for _ in range(500)], [])
    count = {
        (drop, add): np.mean([len(row) for row in bench.trials.damaged(trial, drop=drop, add=add).seen])
        for drop in (False, True)
        for add in (False, True)
    }
    assert count[False, False] == 20
    assert count[True, False] == pytest.approx(14, abs=0.3)
    more = bench.halves.Trial([[f"C{n:07d}"] * 1 + [f"C{n + 500:07d}"] for n in range(500)], [])
    added = bench.trials.damaged(more, drop=False, add=True).seen
    assert np.mean([len(row) - 2 for row in added]) == pytest.approx(0.2, abs=0.06)


def test_articles_are_whole_in_one_part(bench, images):
    choose, report = (bench.corpus.part(images, name) for name in ("choose", "report"))
    assert {image.article for image in choose}.isdisjoint(image.article for image in report)
    assert sorted(image.id for image in choose + report) == [image.id for image in images]
