"""Numbers and verdicts in words, the same in every part of the page."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from pydantic import JsonValue

from nbclip_trainer.experiments.grid import Comparison, Grid
from nbclip_trainer.experiments.judgement import LEVEL, Claim, ControlResult
from nbclip_trainer.experiments.observations import MEAN, Column, Subset
from nbclip_trainer.experiments.statistics import Estimate
from nbclip_trainer.experiments.verdicts import Judged, Verdict
from nbclip_trainer.runs.folder import flattened

NONE = "–"
_TASKS = {
    MEAN: "Mean",
    "modality": "Modality",
    "organ": "Organ",
    "modality_organ": "Modality-organ",
    "cui": "CUI",
    "cui_linked": "Linked CUI",
}
_MARKS = {Verdict.REPRODUCES: "✓", Verdict.REFUTES: "✗", Verdict.UNDERPOWERED: "·"}
_MUST = {"above": "above", "equal": "equal to", "below": "below"}


def figure(estimate: Estimate | None) -> str:
    """Per cent with its interval."""
    if estimate is None:
        return NONE
    return f"{estimate.value:.1f}{_interval(estimate, LEVEL, signed=False)}"


def difference(estimate: Estimate, level: float = LEVEL) -> str:
    """Points with their sign and interval."""
    return f"{signed(estimate.value)}{_interval(estimate, level, signed=True)}"


def signed(value: float | None) -> str:
    """Points with their sign, to a tenth; a dash for None."""
    return NONE if value is None else f"{value:+.1f}".replace("-", "−")


def smallest_visible(estimate: Estimate) -> str:
    """Half the interval's width, in points."""
    half = estimate.half_width(LEVEL)
    return NONE if math.isnan(half) else f"{half:.1f}"


def p_value(p: float) -> str:
    """To three places; a dash where there is none."""
    if math.isnan(p):
        return NONE
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")


def column_title(column: Column) -> str:
    """Such as `Organ P@10` or `CUI coverage@10`."""
    task, metric = column
    return f"{_TASKS[task]} {metric.removeprefix('cui_')}"


def subset_title(subset: Subset) -> str:
    """Such as `source roco`."""
    return f"{subset[0].replace('_', ' ')} {subset[1]}"


def settings_of(chosen: Mapping[str, JsonValue]) -> str:
    """Such as `model.logit_scale=5, optim.lr=0.001`."""
    return ", ".join(f"{key}={value}" for key, value in flattened(chosen))


def arms_of(grid: Grid, comparison: Comparison) -> str:
    """Such as `DK (SM) − CLIP (InfoNCE)`."""
    return f"{grid.arms[comparison.first].title} − {grid.arms[comparison.second].title}"


def cell(judged: Judged) -> str:
    """Mark, ours with its interval, and the paper's."""
    paper = "" if judged.paper is None else f" / {signed(judged.paper)}"
    return f"{_MARKS[judged.verdict]} {difference(judged.estimate)}{paper}"


def verdict(judged: Judged, *, void: bool) -> str:
    """In a word or two; that of a void table is none."""
    if void:
        return "void"
    if judged.verdict is Verdict.REPRODUCES:
        word = "reproduces" if judged.paper is not None else "holds"
        return f"{word}, smaller" if judged.under_bar else word
    return str(judged.verdict)


def answer(grid: Grid, claim: Claim, *, void: Collection[str]) -> str:
    """A claim in a sentence: the verdict on what is not `void`, numbers with intervals, what the data could have shown."""
    said = claim.comparison.claim
    numbers = "; ".join(_number(grid, pictures, judged) for pictures, judged in claim.endpoint.items())
    head = f"**{said[0].upper()}{said[1:]}**{' (primary)' if claim.comparison.primary else ''}: "
    sizes = f"{arms_of(grid, claim.comparison)} is {numbers}." if numbers else "Not measured."
    counted = {pictures: judged for pictures, judged in claim.endpoint.items() if pictures not in void}
    if void and not counted:
        return f"{head}**void**. {sizes} A control is not as it must be, so that the difference says nothing."
    where = f" on {' and '.join(counted)}, void on {' and '.join(void)}" if void else ""
    return f"{head}**{_overall(claim, counted)}**{where}. {sizes} {_why(claim, counted)}".rstrip()


def control_outcome(result: ControlResult) -> str:
    """Whether it is as it must be."""
    return {
        Verdict.REPRODUCES: "as it must be",
        Verdict.REFUTES: "**otherwise**",
        Verdict.UNDERPOWERED: "**not shown**",
    }[result.judged.verdict]


def control_demand(grid: Grid, result: ControlResult) -> str:
    """Such as `must be equal to DK (SM)`."""
    return f"{_MUST[result.control.must]} {grid.arms[result.other].title}"


def _number(grid: Grid, pictures: str, judged: Judged) -> str:
    where = f" on {pictures}" if len(grid.sets) > 1 else ""
    paper = f" (paper: {signed(judged.paper)})" if judged.paper is not None else ""
    return f"{signed(judged.estimate.value)} points{_interval(judged.estimate, LEVEL, signed=True)}{where}{paper}"


def _overall(claim: Claim, counted: Mapping[str, Judged]) -> str:
    has_paper = any(judged.paper is not None for judged in counted.values())
    word = {
        Verdict.REPRODUCES: "reproduces" if has_paper else "holds",
        Verdict.REFUTES: "refuted",
        Verdict.UNDERPOWERED: "underpowered",
    }[claim.verdict_on(counted)]
    verdicts = {judged.verdict for judged in counted.values()}
    return f"{word} (sets of pictures differ)" if len(verdicts) > 1 else word


def _why(claim: Claim, counted: Mapping[str, Judged]) -> str:
    judged, verdict = list(counted.values()), claim.verdict_on(counted)
    if not judged:
        return ""
    bar, side = judged[0].claimed.bar, judged[0].claimed.side
    named = "half the paper's effect" if judged[0].paper is not None and side else "the smallest effect of interest"
    if verdict is Verdict.REFUTES:
        beyond = f"does not reach {named}, {bar:.1f} points" if side else f"is beyond {named}, ±{bar:.1f} points"
        return f"The difference {beyond}."
    if verdict is Verdict.REPRODUCES:
        if side == 0:
            return f"It lies within {named}, ±{bar:.1f} points."
        return f"It is smaller than {named}, {bar:.1f} points." if all(one.under_bar for one in judged) else ""
    widest = max((one.estimate for one in judged), key=lambda estimate: estimate.half_width(LEVEL))
    return f"Differences under {smallest_visible(widest)} points can't be told from 0 here."


def _interval(estimate: Estimate, level: float, *, signed: bool) -> str:
    low, high = estimate.interval(level)
    if math.isnan(low):
        return ""
    return (f" [{low:+.1f}, {high:+.1f}]" if signed else f" [{low:.1f}, {high:.1f}]").replace("-", "−")
