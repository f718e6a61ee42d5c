"""What a difference says of a claim on it.

A claim has a side and a bar. Of a paper's effect the bar is half of it; of a claim without a figure it is the smallest effect of
interest; a claim that there is no effect (the paper's is under half a point) has no side.

reproduces     the interval excludes 0 on the claim's side; without a side: it lies within the bar on either side (equivalence,
               two one-sided tests), which is more than "not significant"
refutes        the interval lies under the bar, be it on the other side of 0; without a side: it lies beyond the bar
underpowered   neither: the data could not tell
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nbclip_trainer.experiments.grid import Control
from nbclip_trainer.experiments.statistics import Estimate, holm

STATED = 0.5
"""Points under which a difference of the paper states no order."""


class Verdict(StrEnum):
    """See the head of this file."""

    REPRODUCES = "reproduces"
    REFUTES = "refutes"
    UNDERPOWERED = "underpowered"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is claimed of a difference: `side` is 1, −1 or 0; `bar` is in points, above 0."""

    side: int
    bar: float

    @classmethod
    def of_paper(cls, paper: float | None, smallest_effect: float) -> Claimed:
        """The paper's effect in points; None is a claim that the first arm is above the second."""
        if paper is None:
            return cls(1, smallest_effect)
        if abs(paper) < STATED:
            return cls(0, smallest_effect)
        return cls(1 if paper > 0 else -1, abs(paper) / 2)

    @classmethod
    def of_control(cls, control: Control, smallest_effect: float) -> Claimed:
        """What a control must be."""
        return cls({"above": 1, "equal": 0, "below": -1}[control.must], smallest_effect)


@dataclass(frozen=True, slots=True)
class Judged:
    """A difference and its verdict.

    Attributes:
        estimate: in points.
        claimed: what was claimed.
        paper: the paper's difference in points, where it gives one.
        p: of what would reproduce, adjusted for the claims that were judged together.
        under_bar: it reproduces, and is shown to be smaller than the bar all the same.
        adjusted: whether the verdict counts the claims beside it (Holm); a primary claim and controls stand alone.
    """

    estimate: Estimate
    claimed: Claimed
    paper: float | None
    p: float
    verdict: Verdict
    under_bar: bool
    adjusted: bool


Case = tuple[Estimate, Claimed, float | None]
"""A difference, what is claimed of it, and the paper's."""


def judge_all(cases: list[Case], *, level: float, adjusted: bool = True) -> list[Judged]:
    """Judges claims together, Holm-adjusted over all of them in both directions where `adjusted`.

    Args:
        cases: estimate, claim and the paper's difference.
        level: of the intervals; verdicts allow an error of 1 − level.
        adjusted: False for what was named before the run, or must hold as a whole.
    """
    for_claim = [_p_for(estimate, claimed) for estimate, claimed, _ in cases]
    against = [_p_against(estimate, claimed) for estimate, claimed, _ in cases]
    if adjusted:
        for_claim, against = holm(for_claim), holm(against)
    error = 1 - level
    found = []
    for (estimate, claimed, paper), p_for, p_against in zip(cases, for_claim, against, strict=True):
        reproduces, refutes = p_for < error, p_against < error
        verdict = Verdict.REPRODUCES if reproduces else Verdict.REFUTES if refutes else Verdict.UNDERPOWERED
        under_bar = reproduces and refutes and claimed.side != 0
        found.append(Judged(estimate, claimed, paper, p_for, verdict, under_bar, adjusted))
    return found


def _p_for(estimate: Estimate, claimed: Claimed) -> float:
    """Of "no effect on the claim's side"; two-sided, so that it goes with the interval that is shown."""
    if claimed.side == 0:
        return max(_one_sided(estimate, -claimed.bar, 1), _one_sided(estimate, claimed.bar, -1))
    return min(1.0, 2 * _one_sided(estimate, 0.0, claimed.side))


def _p_against(estimate: Estimate, claimed: Claimed) -> float:
    """Of "the effect reaches the bar"; without a side, of "it does not reach beyond it"."""
    if claimed.side == 0:
        return min(1.0, 2 * _one_sided(estimate, claimed.bar, 1), 2 * _one_sided(estimate, -claimed.bar, -1))
    return min(1.0, 2 * _one_sided(estimate, claimed.side * claimed.bar, -claimed.side))


def _one_sided(estimate: Estimate, bound: float, side: int) -> float:
    """p-value of "not beyond the bound on this side"."""
    p = estimate.p(bound)
    return p / 2 if side * (estimate.value - bound) > 0 else 1 - p / 2
