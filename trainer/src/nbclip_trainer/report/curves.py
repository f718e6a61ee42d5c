"""Training curves as inline SVG that takes its colours from the page, so that they fit a light and a dark one."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nbclip_trainer.report.compared import ComparedRun
from nbclip_trainer.training.diagnostics import COLLAPSED_SPREAD

LARGEST_PLACE = 6
RUN_COLOURS = tuple(f"#a0000{place}" for place in range(1, LARGEST_PLACE + 1))
INK, FAINT, FLOOR = "#a00010", "#a00011", "#a00012"
_CSS = {
    **{colour: f"var(--run-{place})" for place, colour in enumerate(RUN_COLOURS, 1)},
    INK: "var(--ink-soft)",
    FAINT: "var(--rule)",
    FLOOR: "var(--floor)",
}
"""Colours that matplotlib draws with, and what the page's style sheet puts in their place."""
_DASHES = ("solid", (0, (6, 2)), (0, (2, 2)), (0, (6, 2, 2, 2)), (0, (8, 3)), (0, (1, 1)))
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One drawing: `svg` is an element for the page, `note` says how to read it."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True, slots=True)
class _Panel:
    """A figure of `metrics.jsonl` over the steps: the records' kind and name, and how it is shown."""

    kind: str
    name: str
    title: str
    note: str


_PANELS = (
    _Panel("valid", "loss", "Validation loss", "Losses of different kinds have different floors: compare shapes, not heights."),
    _Panel("valid", "recall", "Validation recall", "Mean of Recall@1, 5 and 10 from image to caption and back."),
    _Panel("valid", "precision_at_10", "Validation P@10", "Image→image, mean over classes and kinds of classes."),
    _Panel("valid", "cui_coverage_at_10", "Validation CUI coverage@10", "Image→image, over images with CUIs."),
    _Panel(
        "diagnostics",
        "cosine_spread",
        "Spread of cosines",
        f"Standard deviation off the diagonal; under the rule at {COLLAPSED_SPREAD} features have collapsed.",
    ),
    _Panel("diagnostics", "logit_scale", "Logit scale", "exp(logit_scale), at most 100 without a bias."),
    _Panel("diagnostics", "positive_cosine", "Cosine of true pairs", "Mean over a batch's image-caption pairs."),
    _Panel(
        "diagnostics", "spearman", "Similarity in the features", "Spearman correlation of the targets' similarity and the cosine."
    ),
)


def draw_curves(runs: Sequence[ComparedRun]) -> list[Curve]:
    """The loss with its marks, and each further figure that some run has logged."""
    curves = [Curve("Training loss", _loss_note(runs), _drawn("loss", partial(_draw_loss, runs=runs)))]
    for panel in _PANELS:
        if any(_points(run, panel.kind, panel.name)[0] for run in runs):
            svg = _drawn(f"{panel.kind}-{panel.name}", partial(_draw_panel, runs=runs, panel=panel))
            curves.append(Curve(panel.title, panel.note, svg))
    return curves


def _loss_note(runs: Sequence[ComparedRun]) -> str:
    cross_entropies = any(run.config.loss.is_cross_entropy for run in runs)
    marks = "Upper rule: ln N, a model that knows nothing. Thin lines: entropy of the targets, the least a loss can be."
    return marks if cross_entropies else "Mean over a batch."


def _draw_loss(axes: Axes, runs: Sequence[ComparedRun]) -> None:
    for run in runs:
        steps, losses = _points(run, "train", "loss")
        axes.plot(steps, losses, **_line(run))
        if not run.config.loss.is_cross_entropy:
            continue
        floor_steps, floors = _points(run, "diagnostics", "target_entropy")
        axes.plot(floor_steps, floors, color=_colour(run), linewidth=0.8, linestyle=_dash(run), alpha=0.8)
        unknowing = math.log(run.config.batch_size)
        axes.axhline(unknowing, color=INK, linewidth=0.8)
        axes.annotate("ln N", (1, unknowing), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points", ha="right")


def _draw_panel(axes: Axes, runs: Sequence[ComparedRun], panel: _Panel) -> None:
    for run in runs:
        axes.plot(
            *_points(run, panel.kind, panel.name), marker="o" if panel.kind == "valid" else None, markersize=3, **_line(run)
        )
    if panel.name == "cosine_spread":
        axes.axhline(COLLAPSED_SPREAD, color=INK, linewidth=0.8)
        axes.set_ylim(bottom=0)


def _points(run: ComparedRun, kind: str, name: str) -> tuple[list[int], list[float]]:
    return points(run.records, kind, name)


def points(records: Sequence[dict[str, Any]], kind: str, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of a figure of `metrics.jsonl`."""
    chosen = [record for record in records if record["kind"] == kind and record.get(name) is not None]
    return [record["step"] for record in chosen], [float(record[name]) for record in chosen]


def _line(run: ComparedRun) -> dict[str, Any]:
    return {"color": _colour(run), "linestyle": _dash(run)}


def _colour(run: ComparedRun) -> str:
    return RUN_COLOURS[(run.place - 1) % LARGEST_PLACE]


def _dash(run: ComparedRun) -> Any:
    return _DASHES[(run.place - 1) % LARGEST_PLACE]


def _drawn(name: str, draw: Callable[[Axes], None]) -> str:
    def one(figure: Figure) -> None:
        axes = figure.subplots()
        draw(axes)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))

    return svg_of(name, one, (3.9, 2.35))


def svg_of(name: str, draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """An svg element of a size in inches; ids carry `name`, since a page has room for each id once.

    Drawn with `INK`, `FAINT`, `FLOOR` and `RUN_COLOURS` it has the page's colours.
    """
    with rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img" xmlns:xlink="http://www.w3.org/1999/xlink">', svg)
    for drawn, css in _CSS.items():
        svg = svg.replace(drawn, css)
    return svg
