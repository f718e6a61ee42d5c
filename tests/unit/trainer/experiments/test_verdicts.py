"""What a difference says of a claim: every verdict by an interval that can be read off."""

import math

import pytest
from nbclip_trainer.experiments.grid import Control
from nbclip_trainer.experiments.statistics import Estimate
from nbclip_trainer.experiments.verdicts import Claimed, Verdict, judge_all


def judged(value, error, paper=None, *, smallest=1.0):
    """Of a difference with many degrees of freedom: its 95 % interval is ± 1.96 errors."""
    case = Estimate(value, error, 1e6, 1.0), Claimed.of_paper(paper, smallest), paper
    return judge_all([case], level=0.95, adjusted=False)[0]


@pytest.mark.parametrize(
    ("value", "error", "paper", "verdict"),
    [
        (2.0, 0.5, 5.0, Verdict.REPRODUCES),
        (-2.0, 0.5, -5.0, Verdict.REPRODUCES),
        (0.1, 0.5, 5.0, Verdict.REFUTES),
        (-0.1, 0.5, -5.0, Verdict.REFUTES),
        (-2.0, 0.5, 5.0, Verdict.REFUTES),
        (-1.0, 2.0, 5.0, Verdict.UNDERPOWERED),
        (1.0, 1.0, 5.0, Verdict.UNDERPOWERED),
        (2.0, 0.5, None, Verdict.REPRODUCES),
        (0.2, 0.2, None, Verdict.REFUTES),
        (0.5, 0.5, None, Verdict.UNDERPOWERED),
        (0.1, 0.3, 0.2, Verdict.REPRODUCES),
        (0.6, 0.1, -0.2, Verdict.REPRODUCES),
        (0.9, 0.3, 0.2, Verdict.UNDERPOWERED),
        (2.0, 0.3, 0.2, Verdict.REFUTES),
        (-2.0, 0.3, 0.2, Verdict.REFUTES),
        (0.0, 1.0, 0.0, Verdict.UNDERPOWERED),
        (9.0, math.nan, 5.0, Verdict.UNDERPOWERED),
    ],
)
def test_verdicts(value, error, paper, verdict):
    assert judged(value, error, paper).verdict is verdict


def test_an_effect_that_is_there_and_small_says_so():
    assert judged(1.0, 0.2, 5.0).under_bar
    assert not judged(2.4, 0.2, 5.0).under_bar
    assert not judged(0.1, 0.1, 0.0).under_bar


def test_claims_that_are_judged_together_are_corrected_for_their_number():
    case = Estimate(2.2, 1.0, 1e6, 1.0), Claimed(1, 5.0), None
    alone, first, *_ = [*judge_all([case], level=0.95), *judge_all([case] * 5, level=0.95)]
    assert alone.verdict is Verdict.REPRODUCES
    assert first.verdict is not Verdict.REPRODUCES
    assert first.p == pytest.approx(5 * alone.p)


@pytest.mark.parametrize(
    ("must", "value", "error", "verdict"),
    [
        ("above", 1.2, 0.5, Verdict.REPRODUCES),
        ("above", 0.2, 0.5, Verdict.UNDERPOWERED),
        ("above", -2.0, 0.5, Verdict.REFUTES),
        ("below", -1.2, 0.5, Verdict.REPRODUCES),
        ("equal", 0.1, 0.5, Verdict.REPRODUCES),
        ("equal", 0.1, 0.6, Verdict.UNDERPOWERED),
        ("equal", 3.0, 0.5, Verdict.REFUTES),
    ],
)
def test_a_control_that_is_not_significant_is_not_yet_equal(must, value, error, verdict):
    claimed = Claimed.of_control(Control(of="dk", must=must), 1.0)
    assert judge_all([(Estimate(value, error, 1e6, 1.0), claimed, None)], level=0.95, adjusted=False)[0].verdict is verdict
