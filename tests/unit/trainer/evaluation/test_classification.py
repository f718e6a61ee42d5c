import numpy as np
import pytest
from nbclip_trainer.evaluation.bootstrap import statistic_interval
from nbclip_trainer.evaluation.classification import macro_auc, macro_f1
from sklearn.metrics import f1_score, roc_auc_score


@pytest.fixture(scope="module")
def predictions():
    """120 queries of 4 classes, with ties among the scores."""
    generator = np.random.default_rng(11)
    true = generator.integers(0, 4, 120)
    score = generator.integers(0, 8, (120, 4)) + 4.0 * np.eye(4)[true]
    return true, score / score.sum(axis=1, keepdims=True)


def test_figures_are_scikit_learns_for_any_weights(predictions):
    true, score = predictions
    predicted = score.argmax(axis=1)
    weight = np.random.default_rng(12).integers(0, 3, (5, 120)).astype(float)
    f1, auc = macro_f1(weight, true, predicted), macro_auc(weight, true, score)
    for row, (mine, area) in enumerate(zip(f1, auc, strict=True)):
        assert mine == pytest.approx(f1_score(true, predicted, average="macro", sample_weight=weight[row]))
        areas = [roc_auc_score(true == code, score[:, code], sample_weight=weight[row]) for code in range(4)]
        assert area == pytest.approx(np.mean(areas))


def test_a_class_that_no_query_of_a_weighting_has_is_left_out(predictions):
    true, score = predictions
    weight = (true != 3).astype(float)[None]
    without = np.flatnonzero(true != 3)
    predicted = score.argmax(axis=1)
    expected = f1_score(true[without], predicted[without], labels=[0, 1, 2], average="macro")
    assert macro_f1(weight, true, predicted)[0] == pytest.approx(expected)
    assert np.isnan(macro_auc(np.zeros((1, 120)), true, score)[0])


def test_an_interval_is_of_the_statistic_on_resampled_cases(predictions):
    true, score = predictions
    case = np.repeat(np.arange(40), 3)
    found = statistic_interval(lambda weight: macro_auc(weight, true, score), case, resamples=200, seed=3)
    drawn = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40), size=200)
    areas = [
        np.mean([roc_auc_score(true == code, score[:, code], sample_weight=weights[case]) for code in range(4)])
        for weights in drawn
    ]
    assert [found.low, found.high] == pytest.approx(np.quantile(areas, [0.025, 0.975]))
    assert found.low < found.value < found.high
