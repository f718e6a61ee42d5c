"""The differences that claims are decided by, with their intervals, beside the paper's."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nbclip_trainer.experiments.judgement import Judgement
from nbclip_trainer.experiments.verdicts import Judged, Verdict
from nbclip_trainer.report.curves import svg_of

_COLOURS = {Verdict.REPRODUCES: "#1f7a4d", Verdict.REFUTES: "#b3362b", Verdict.UNDERPOWERED: "#8a867d"}
_PAPER, _VOID, _FACE, _BAND, _ZERO = "#2f62a8", "#b9b4a9", "#fdfcf9", "#f1efe8", "#444444"
_CSS = {
    **dict(zip(_COLOURS.values(), ("var(--hit)", "var(--miss)", "var(--ink-soft)"), strict=True)),
    _PAPER: "var(--run-1)",
    _VOID: "var(--floor)",
    _FACE: "var(--paper)",
    _BAND: "var(--panel)",
    _ZERO: "var(--ink)",
}
"""Colours of the file, and what a page's style sheet has for them, light or dark."""
Row = tuple[str, Judged, bool]
"""Label, difference, and whether its table is void."""


def claims_svg(judgement: Judgement) -> str:
    """Every claim once, on each set of pictures, as an svg element in the colours of the page that it stands in."""
    svg = svg_of("claims", lambda figure: _fill(figure, judgement), _size(judgement))
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, variable)
    return svg


def save_claims(judgement: Judgement, path: Path) -> None:
    """The same as a PNG."""
    with rc_context({"font.size": 9}):
        figure = Figure(figsize=_size(judgement), layout="constrained")
        _fill(figure, judgement)
        figure.savefig(path, format="png", dpi=150)


def _size(judgement: Judgement) -> tuple[float, float]:
    return 9, 1.1 + 0.34 * len(_rows(judgement))


def _fill(figure: Figure, judgement: Judgement) -> None:
    axes = figure.subplots()
    _draw(axes, _rows(judgement), judgement.grid.endpoint.smallest_effect)
    axes.set_xlabel(f"difference in {judgement.grid.endpoint.metric}, points, mean of the class tasks")


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
    axes.axvspan(-smallest, smallest, color=_BAND, zorder=0)
    axes.axvline(0, color=_ZERO, linewidth=0.8)
    for place, (_, judged, is_void) in enumerate(rows):
        colour = _VOID if is_void else _COLOURS[judged.verdict]
        low, high = judged.estimate.interval()
        axes.plot([low, high], [place, place], color=colour, linewidth=2)
        face = _FACE if is_void else colour
        axes.plot(judged.estimate.value, place, marker="o", color=colour, markerfacecolor=face, markersize=6, linestyle="none")
        if judged.paper is not None:
            axes.plot(judged.paper, place, marker="x", color=_PAPER, markersize=6, linestyle="none")
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x", linewidth=0.4)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
