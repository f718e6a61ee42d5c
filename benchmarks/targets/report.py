"""The figures as Markdown, JSON and a plot: `docs/targets.md` and beside it."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib as mpl
from methods import DEFAULT, Method
from trials import Figures

mpl.use("svg")

_REPOSITORY = Path(__file__).parents[2]
PAGE = _REPOSITORY / "docs" / "targets.md"
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- /results -->)", re.DOTALL)
_MAIN = ("nCG@10", "nCG@50")


@dataclass(frozen=True, slots=True)
class PairedInterval:
    """A method's mean less the default's, with its 95 % interval."""

    difference: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_signed(self.difference)} ({_signed(self.low)} to {_signed(self.high)})"


@dataclass(frozen=True, slots=True)
class Row:
    """A method's figures; `recovered` has P@10 and P@30 by kind of class."""

    method: Method
    figures: Figures
    recovered: dict[str, tuple[float, float]]
    against_default: dict[str, PairedInterval]


@dataclass(frozen=True, slots=True)
class Report:
    """All that is measured, and on what."""

    part: str
    images: int
    articles: int
    pools: list[int]
    trials: int
    rows: list[Row]
    learned: list[Row]
    ablations: list[Row]
    robustness: dict[str, list[Row]]
    edges: dict[str, list[Row]]


def write_report(report: Report) -> None:
    """Puts the tables between the markers of `docs/targets.md`, and the figures and their plot beside it."""
    folder = PAGE.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(_plain(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _draw(report, folder / "figures.svg")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_RESULTS.sub(lambda _: render(report), page), encoding="utf-8")


def render(report: Report) -> str:
    """The tables in Markdown."""
    tables = {
        "Representations": _main_table(report.rows),
        "Learned vectors (two trials)": _main_table(report.learned),
        "Ablations of the default (two trials)": _ablation_table(report.ablations),
        "Other edges (two trials)": _edges_table(report.edges),
        **{f"Damaged graphs, {m} (two trials)": _robustness_table(report.robustness, m) for m in _MAIN},
    }
    head = (
        f"{datetime.now(UTC):%Y-%m-%d}, `make bench-targets`, {_machine()}. Part: {report.part}, {report.images:,} images of "
        f"{report.articles:,} articles; {report.trials} trials, pools of {min(report.pools):,} to {max(report.pools):,}."
    )
    return "\n".join([head, *(f"\n### {title}\n\n{table}" for title, table in tables.items())]) + "\n"


def _main_table(rows: Sequence[Row]) -> str:
    recovered = [f"{kind} P@10 / @30" for kind in rows[0].recovered]
    measures = list(rows[0].figures.by_image)
    head = ["representation", "is_a", *measures, *recovered, *(f"Δ {measure}" for measure in _MAIN), "fit, CPU s"]
    return _table(head, (_main_cells(row) for row in rows))


def _main_cells(row: Row) -> list[str]:
    found = [_share(row.figures.mean(measure)) for measure in row.figures.by_image]
    recovered = [f"{first:.3f} / {second:.3f}" for first, second in row.recovered.values()]
    deltas = ["" if row.method == DEFAULT else str(row.against_default[measure]) for measure in _MAIN]
    return [row.method.name, "yes" if row.method.is_a else "no", *found, *recovered, *deltas, f"{row.figures.fit_s:.1f}"]


def _ablation_table(rows: Sequence[Row]) -> str:
    def cells(row: Row) -> list[str]:
        return [row.method.name, *map(str, row.against_default.values())]

    return _table(["the default with", *(f"Δ {measure}" for measure in rows[0].against_default)], map(cells, rows))


def _edges_table(edges: dict[str, list[Row]]) -> str:
    head = ["the default with", *(f"{concepts}: Δ {measure}" for concepts in edges for measure in _MAIN)]
    rows = zip(*edges.values(), strict=True)
    return _table(head, ([row[0].method.name, *(str(each.against_default[m]) for each in row for m in _MAIN)] for row in rows))


def _robustness_table(robustness: dict[str, list[Row]], measure: str) -> str:
    methods = [row.method for row in next(iter(robustness.values()))]
    by_method = [[rows[index] for rows in robustness.values()] for index in range(len(methods))]

    def cell(row: Row) -> str:
        versus = "" if row.method == DEFAULT else f"; {row.against_default[measure]}"
        return _share(row.figures.mean(measure)) + versus

    return _table(["representation", *robustness], ([rows[0].method.name, *map(cell, rows)] for rows in by_method))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)) + "\n"


def _share(value: float) -> str:
    return f"{value:.4f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("0.", ".", 1)


def _plain(report: Report) -> dict[str, Any]:
    def rows(each: Sequence[Row]) -> list[dict[str, Any]]:
        return [
            {
                "method": row.method.name.replace("*", ""),
                "is_a": row.method.is_a,
                "figures": {measure: round(row.figures.mean(measure), 5) for measure in row.figures.by_image},
                "recovered": {kind: [round(value, 5) for value in values] for kind, values in row.recovered.items()},
                "less the default": {
                    measure: [round(value, 5) for value in (c.difference, c.low, c.high)]
                    for measure, c in row.against_default.items()
                },
                "fit_cpu_s": round(row.figures.fit_s, 2),
            }
            for row in each
        ]

    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": "make bench-targets",
        "machine": _machine(),
        "part": report.part,
        "images": report.images,
        "articles": report.articles,
        "pools": report.pools,
        "trials": report.trials,
        "representations": rows(report.rows),
        "learned": rows(report.learned),
        "ablations": rows(report.ablations),
        "edges": {concepts: rows(each) for concepts, each in report.edges.items()},
        "robustness": {condition: rows(each) for condition, each in report.robustness.items()},
    }


def _draw(report: Report, path: Path) -> None:
    """Each method's distance to the default in nCG@10 and nCG@50, with its interval."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    mpl.rcParams["svg.hashsalt"] = "targets"
    shown = [*report.rows, *report.learned[1:]][:0:-1]  # noise, the first, is far off
    figure = Figure(figsize=(9, 0.4 * len(shown) + 1.2), layout="constrained")
    for axes, measure in zip(figure.subplots(1, 2, sharey=True), _MAIN, strict=True):
        found = [row.against_default[measure] for row in shown]
        means = [each.difference for each in found]
        spread = [[each.difference - each.low for each in found], [each.high - each.difference for each in found]]
        axes.errorbar(means, range(len(shown)), xerr=spread, fmt="o", color="#1f5f8b", ecolor="#8fb3cc", capsize=2)
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.set_yticks(range(len(shown)), [row.method.name.replace("*", "") for row in shown])
        axes.set_xlabel(f"{measure}, less the default's")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy", "numba"))
    return f"one core of: {names[0] if names else platform.processor()}, {os.cpu_count()} cores; {libraries}"
