"""The differences that claims are decided by, with their intervals, beside the paper's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import matplotlib.figure
from matplotlib import rc_context
from matplotlib.axes import Axes

from nbclip_trainer.experiments.judgement import Judgement
from nbclip_trainer.experiments.verdicts import Judged, Verdict

_COLOURS = {Verdict.REPRODUCES: "#1f7a4d", Verdict.REFUTES: "#b3362b", Verdict.UNDERPOWERED: "#8a867d"}
_PAPER = "#2f62a8"
Row = tuple[str, Judged, bool]
"""Label, difference, and whether its table is void."""


def draw_claims(judgement: Judgement, path: Path | None, form: Literal["png", "svg"]) -> str:
    """Draws every claim once, on each set of pictures, to `path`, or, without one, returns it as an svg element."""
    rows = _rows(judgement)
    with rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "claims"}):
        figure = matplotlib.figure.Figure(figsize=(9, 1.1 + 0.34 * len(rows)), layout="constrained")
        axes = figure.subplots()
        _draw(axes, rows, judgement.grid.endpoint.smallest_effect)
        axes.set_xlabel(f"difference in {judgement.grid.endpoint.metric}, points, mean of the class tasks")
        file = io.StringIO() if form == "svg" else io.BytesIO()
        figure.savefig(file, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None)
    content = file.getvalue()
    if path is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return ""
    return str(content)[str(content).index("<svg") :]


def _rows(judgement: Judgement) -> list[Row]:
    rows: dict[str, Row] = {}
    titles = {name: arm.title for name, arm in judgement.grid.arms.items()}
    for table in judgement.tables:
        for claim in table.claims:
            pair = f"{titles[claim.comparison.first]} − {titles[claim.comparison.second]}"
            for pictures, judged in claim.endpoint.items():
                label = f"{pair}{', ' + pictures if len(judgement.grid.sets) > 1 else ''}"
                rows.setdefault(label, (label, judged, table.is_void_on(pictures)))
    return list(rows.values())


def _draw(axes: Axes, rows: list[Row], smallest: float) -> None:
    axes.axvspan(-smallest, smallest, color="#f1efe8", zorder=0)
    axes.axvline(0, color="#444", linewidth=0.8)
    for place, (_, judged, is_void) in enumerate(rows):
        colour = "#b9b4a9" if is_void else _COLOURS[judged.verdict]
        low, high = judged.estimate.interval()
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        face = "white" if is_void else colour
        axes.plot(judged.estimate.value, place, marker="o", color=colour, markerfacecolor=face, markersize=6, linestyle="none")
        if judged.paper is not None:
            axes.plot(judged.paper, place, marker="x", color=_PAPER, markersize=6, linestyle="none")
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
