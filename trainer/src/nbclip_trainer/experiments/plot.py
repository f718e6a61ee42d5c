"""The differences of a table's arms with their intervals, beside the paper's: one panel a pair."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import matplotlib.figure
from matplotlib import rc_context
from matplotlib.axes import Axes

from nbclip_trainer.experiments.judgement import COLUMNS, ArmPair, ReproducedTable, Verdict

_COLOURS = {Verdict.HOLDS: "#1f7a4d", Verdict.OPPOSITE: "#b3362b", Verdict.OPEN: "#8a867d"}
_SHORT = {"cui": "CUI", "modality": "mod", "organ": "organ", "modality_organ": "mod-org"}


def draw_orders(table: ReproducedTable, path: Path | None, form: Literal["png", "svg"]) -> str:
    """Draws the plot to `path`, or, without one, returns it as an svg element."""
    with rc_context({"font.size": 8, "svg.fonttype": "none", "svg.hashsalt": table.name}):
        figure = matplotlib.figure.Figure(figsize=(2.3 * len(table.pairs) + 1, 3.6), layout="constrained")
        panels = figure.subplots(1, len(table.pairs), sharex=True, sharey=True, squeeze=False)[0]
        for axes, pair in zip(panels, table.pairs, strict=True):
            _draw(axes, pair)
        names = [f"{_SHORT[task]}@{metric.partition('@')[2]}" for task, metric in COLUMNS]
        panels[0].set_yticks(range(len(COLUMNS)), names)
        panels[0].invert_yaxis()
        figure.supxlabel("difference in points: dot and line ours with interval, cross the paper's")
        file = io.StringIO() if form == "svg" else io.BytesIO()
        figure.savefig(file, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    if path is not None:
        content = file.getvalue()
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ""
    svg = str(file.getvalue())
    return svg[svg.index("<svg") :]


def _draw(axes: Axes, pair: ArmPair) -> None:
    axes.axvline(0, color="#444", linewidth=0.8)
    for row, order in enumerate(pair.orders):
        axes.plot(order.paper, row, marker="x", color="#2f62a8", markersize=4, linestyle="none")
        figure = order.difference
        if figure is None or figure.value is None:
            continue
        colour = _COLOURS[order.verdict]
        if figure.low is not None and figure.high is not None:
            axes.plot([100 * figure.low, 100 * figure.high], [row, row], color=colour, linewidth=1.6)
        axes.plot(100 * figure.value, row, marker="o", color=colour, markersize=4, linestyle="none")
    axes.set_title(f"{pair.first.title}\n− {pair.second.title}", fontsize=8)
    axes.grid(axis="x", linewidth=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
