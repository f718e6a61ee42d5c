import math

import pytest
from nbclip_trainer.runs.selection import early_end, merit
from nbclip_trainer.runs.settings import ValidationSettings


def validations(*values, by="recall", every=10):
    return [{"step": every * place, by: value} for place, value in enumerate(values, 1)]


def ends(values, patience, *, by="recall", min_improvement=0.0, every=10):
    settings = ValidationSettings(patience=patience, min_improvement=min_improvement)
    return early_end(validations(*values, by=by, every=every), by, settings, steps_per_epoch=10)


def test_a_lower_loss_and_a_higher_score_are_better():
    assert merit({"loss": 2.0}, "loss") > merit({"loss": 3.0}, "loss")
    assert merit({"recall": 0.3}, "recall") > merit({"recall": 0.2}, "recall")
    for nothing in ({}, {"loss": None}, {"loss": math.nan}, {"loss": math.inf}):
        assert merit(nothing, "loss") is None


@pytest.mark.parametrize(
    ("values", "patience", "ended"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1, False),
        ([0.2, 0.1], 1, True),
        ([0.2, 0.2], 1, True),
        ([0.2, 0.1, 0.1], 3, False),
        ([0.2, 0.1, 0.1, 0.1], 3, True),
        ([0.2, 0.1, 0.3, 0.1, 0.1], 3, False),
        ([0.2, None, math.nan, None], 3, True),
        ([None, None], 2, True),
        ([], 1, False),
        ([0.2] * 50, None, False),
    ],
)
def test_a_run_ends_when_its_best_is_a_patience_of_epochs_ago(values, patience, ended):
    assert bool(ends(values, patience)) == ended


def test_a_loss_is_better_when_it_falls():
    assert not ends([3.0, 2.0, 1.0], 1, by="loss")
    assert ends([1.0, 2.0], 1, by="loss")


def test_a_gain_under_the_minimum_is_none_and_small_gains_add_up():
    assert ends([0.10, 0.11, 0.12], 2, min_improvement=0.05)
    assert not ends([0.10, 0.14, 0.16], 2, min_improvement=0.05)


def test_patience_is_counted_in_epochs_however_often_is_validated():
    assert not ends([0.2, 0.1, 0.1, 0.1], 2, every=5)
    assert ends([0.2, 0.1, 0.1, 0.1, 0.1], 2, every=5)


def test_the_sentence_names_figure_step_and_patience():
    why = "no better recall than 0.2500 at step 10, with a patience of 2 epochs (validation.patience)"
    assert ends([0.25, 0.1, 0.1], 2) == why
    assert ends([None, None], 2).startswith("no recall, with a patience")
