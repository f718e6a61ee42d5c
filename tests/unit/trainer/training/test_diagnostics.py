import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbclip.losses import Cosines
from nbclip_trainer.targets.rows import Targets
from nbclip_trainer.targets.settings import TargetSettings
from nbclip_trainer.training.diagnostics import alarms, diagnose, spearman
from scipy import stats

values = st.lists(st.integers(-3, 3).map(float), min_size=3, max_size=30)


@given(values, st.randoms(use_true_random=False))
def test_spearman_is_scipys_also_with_ties(left, random):
    right = random.sample(left, len(left))
    found = spearman(torch.tensor(left), torch.tensor(right))
    if len(set(left)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-9)


def batch(rows, cosine, similarity=None, known=None):
    rows, cosine = torch.tensor(rows), torch.tensor(cosine)
    count = len(rows)
    known = torch.ones(count, dtype=torch.bool) if known is None else torch.tensor(known)
    similarity = rows if similarity is None else torch.tensor(similarity)
    return Cosines(cosine, cosine.T), torch.tensor(14.0), Targets(rows, similarity, torch.arange(count), known)


def test_the_figures_of_a_batch_by_hand():
    rows = [[1.0, 0, 0], [0.25, 0.5, 0.25], [0, 0.5, 0.5]]
    cosine = [[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.0, 0.5, 0.7]]
    figures = diagnose(*batch(rows, cosine, known=[False, True, True]))
    entropy = (0 + 1.5 * math.log(2) + math.log(2)) / 3
    assert figures["target_entropy"] == pytest.approx(entropy)
    assert figures["effective_positives"] == pytest.approx(math.exp(entropy))
    assert figures["without_knowledge"] == figures["one_hot"] == pytest.approx(1 / 3)
    others = np.array([0.1, 0.3, 0.2, 0.4, 0.0, 0.5])
    assert figures["cosine_spread"] == pytest.approx(others.std(ddof=1))
    assert figures["cosine_mean"] == pytest.approx(others.mean())
    assert figures["positive_cosine"] == pytest.approx(0.8)
    assert figures["spearman"] == pytest.approx(stats.spearmanr([0, 0, 0.25, 0.25, 0, 0.5], others).statistic)
    assert figures["logit_scale"] == 14


def test_identity_targets_have_one_effective_positive_and_no_rank_correlation():
    figures = diagnose(*batch(np.eye(3, dtype=np.float32).tolist(), [[0.9, 0.1, 0.3], [0.2, 0.8, 0.4], [0.0, 0.5, 0.7]]))
    assert figures["effective_positives"] == 1
    assert math.isnan(figures["spearman"])


def test_collapsed_features_raise_the_alarm_once_warm_up_is_over():
    figures = {"cosine_spread": 0.005, "logit_scale": 14.0}
    [alarm] = alarms(figures, TargetSettings(), warmed_up=True)
    assert "collapse" in alarm
    assert not alarms(figures, TargetSettings(), warmed_up=False)
    assert not alarms({**figures, "cosine_spread": 0.02}, TargetSettings(), warmed_up=True)


def test_a_temperature_too_high_for_the_logit_scale_raises_the_alarm():
    figures = {"cosine_spread": 0.1, "logit_scale": 20.0}
    for flat in (TargetSettings(form="paper-literal"), TargetSettings(temperature=1.0)):
        assert "flat targets" in alarms(figures, flat, warmed_up=False)[0]
    for good in (TargetSettings(), TargetSettings(temperature=0.1), TargetSettings(form="paper-literal", temperature=0.5)):
        assert not alarms(figures, good, warmed_up=False)
