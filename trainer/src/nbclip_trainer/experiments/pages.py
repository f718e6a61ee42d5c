"""The reproduced table as Markdown, HTML and a plot, all from one `ReproducedTable`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nbclip_trainer.evaluation.pairs import MEDIAN_RANK
from nbclip_trainer.experiments.arms import CAPTIONS, TableName
from nbclip_trainer.experiments.judgement import COLUMNS, PAIR_COLUMNS, Entry, Order, ReproducedTable, Verdict, read_table
from nbclip_trainer.experiments.plan import Plan
from nbclip_trainer.experiments.plot import draw_orders
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.results import Figure

_TASKS = {"cui": "CUI", "modality": "Modality", "organ": "Organ", "modality_organ": "Modality-organ"}
_MARKS = {Verdict.HOLDS: "✓", Verdict.OPPOSITE: "✗", Verdict.OPEN: "·"}
_DIAGNOSTICS = {
    "cosine_spread": "spread of cosines",
    "spearman": "Spearman(S, cosine)",
    "effective_positives": "effective positives",
    "target_entropy": "target entropy",
    "logit_scale": "logit scale",
}
PAIR_NOTE = (
    "Recall@K in per cent, and the median rank, over the captions of the scored split; equal captions are right for each other. "
    "The paper has no such figures."
)


def write_table(name: TableName, plan: Plan) -> Path:
    """Writes `<name>.md`, `<name>.html` and `<name>.png` into the plan's folder.

    Returns:
        The path of the HTML page.

    Raises:
        NBClipError: as `read_table`.
    """
    table = read_table(name, plan)
    with replacing(plan.folder / f"{name}.png") as path:
        draw_orders(table, path, "png")
    with replacing(plan.folder / f"{name}.md") as path:
        path.write_text(markdown(table), encoding="utf-8")
    page = plan.folder / f"{name}.html"
    with replacing(page) as path:
        path.write_text(_html(table), encoding="utf-8")
    return page


def markdown(table: ReproducedTable) -> str:
    """The whole page: figures, orders with intervals, diagnostics, what was run."""
    return "\n".join(
        [
            f"## {title(table)}",
            "",
            *_lines(header(), [row for pair in figure_rows(table) for row in pair]),
            "",
            notes(table),
            "",
            f"![Our differences with 95 % intervals, beside the paper's]({table.name}.png)",
            "",
            "### Retrieval of pairs",
            "",
            *_lines(pair_header(), pair_rows(table)),
            "",
            PAIR_NOTE,
            "",
            "### Which of the paper's orders hold",
            "",
            *_lines(["", *columns(), "holds", "open", "opposite"], order_rows(table)),
            "",
            verdict_note(table),
            "",
            "### Diagnostics",
            "",
            *_lines(["", *_DIAGNOSTICS.values(), "alarms"], diagnostic_rows(table)),
            "",
            *(f"- {run_fact}" for run_fact in facts(table)),
            "",
        ]
    )


def title(table: ReproducedTable) -> str:
    """Such as `Table 1: which knowledge makes the targets`."""
    return f"Table {table.name[-1]}: {CAPTIONS[table.name]}"


def columns() -> list[str]:
    """`CUI@5` …, `Modality P@5` …"""
    return [f"CUI@{metric.partition('@')[2]}" if task == "cui" else f"{_TASKS[task]} {metric}" for task, metric in COLUMNS]


def header() -> list[str]:
    """Of the table of figures."""
    return ["per cent", *columns()]


def figure_rows(table: ReproducedTable) -> Iterator[tuple[list[str], list[str]]]:
    """For each arm the paper's row and ours, `mean (lowest–highest seed)`; then the floors beside nothing of the paper's."""
    for row in table.rows:
        yield (
            [f"{row.arm.title}, paper", *(f"{value:.1f}" for value in row.arm.paper)],
            [f"**{row.arm.title}, here**", *(_entry(entry) for entry in row.entries)],
        )
    for name, values in table.floors.items():
        yield [], [name, *("–" if value is None else f"{100 * value:.1f}" for value in values)]


def pair_header() -> list[str]:
    """Of the table of Recall@K and median ranks."""
    return ["", *(f"{direction} {metric}" for direction, metric in PAIR_COLUMNS)]


def pair_rows(table: ReproducedTable) -> list[list[str]]:
    """For each arm its mean over seeds, `mean (lowest–highest seed)`; then chance."""
    rows = [(row.arm.title, row.recalls) for row in table.rows]
    return [
        [name, *(_recall(metric, values) for (_, metric), values in zip(PAIR_COLUMNS, zip(*recalls, strict=True), strict=True))]
        for name, recalls in [*rows, ("chance", (table.recall_floor,))]
    ]


def order_rows(table: ReproducedTable) -> list[list[str]]:
    """A row a comparison: in each column the mark, our difference and the paper's."""
    return [
        [
            f"{pair.first.title} − {pair.second.title}",
            *(_order(order) for order in pair.orders),
            *(str(pair.count(verdict)) for verdict in (Verdict.HOLDS, Verdict.OPEN, Verdict.OPPOSITE)),
        ]
        for pair in table.pairs
    ]


def diagnostic_rows(table: ReproducedTable) -> list[list[str]]:
    """Means over seeds of each arm's last diagnostics, and its alarms."""
    return [
        [
            row.arm.title,
            *(f"{row.diagnostics[name]:.3g}" if name in row.diagnostics else "–" for name in _DIAGNOSTICS),
            "; ".join(row.alarms) or "none",
        ]
        for row in table.rows
    ]


def notes(table: ReproducedTable) -> str:
    """How to read the figures."""
    return (
        f"Image→image retrieval, mean of {len(table.plan.seeds)} seeds (lowest–highest). The query's own case is out of the "
        "gallery, and P@K is macro over classes. The paper does not say how its CUI@K counts; here it is cui_coverage@K, the "
        "share of a query's concepts that its K neighbours have together, which rises with K as the paper's does. The figures "
        "are of another model, other images and other queries than the paper's: only orders can be compared."
    )


def verdict_note(table: ReproducedTable) -> str:
    """What the marks mean."""
    return (
        f"Ours, then the paper's, in points. ✓ the {table.protocol.level:.0%} interval (paired, over cases, of the mean over "
        "seeds) excludes 0 on the paper's side and all seeds agree; ✗ the same on the other side; · neither is shown, or the "
        "paper's difference is under half a point, which states no order."
    )


def facts(table: ReproducedTable) -> list[str]:
    """What was run, from what."""
    config = table.plan.config(table.rows[0].arm, table.plan.seeds[0])
    data = table.facts["data"] or {}
    pairs = ", ".join(f"{counts['pairs']} {split}" for split, counts in data.items() if counts)
    versions = ", ".join(f"{name} {version}" for name, version in (table.facts["versions"] or {}).items())
    return [
        f"{datetime.now(UTC):%Y-%m-%d}, preset {table.plan.preset}, model {config.model.name}, {config.epochs} epochs of batches "
        f"of {config.batch_size} ({table.facts['steps']} steps), seeds {', '.join(map(str, table.plan.seeds))}; pairs: {pairs}",
        f"snapshot {table.facts['snapshot']}, commit {table.facts['git']}",
        versions,
    ]


def _entry(entry: Entry) -> str:
    if entry.figure is None or entry.figure.value is None:
        return "–"
    spread = f" ({100 * min(entry.seeds):.1f}–{100 * max(entry.seeds):.1f})" if len(entry.seeds) > 1 else ""
    return f"{100 * entry.figure.value:.1f}{spread}"


def _recall(metric: str, values: Sequence[float | None]) -> str:
    """Per cent of a recall, a rank as it is."""
    factor = 1 if metric == MEDIAN_RANK else 100
    seeds = [factor * value for value in values if value is not None]
    if not seeds:
        return "–"
    return f"{fmean(seeds):.1f}{f' ({min(seeds):.1f}–{max(seeds):.1f})' if len(seeds) > 1 else ''}"


def _order(order: Order) -> str:
    return f"{_MARKS[order.verdict]} {_signed(order.difference)} / {order.paper:+.1f}".replace("-", "−")


def _signed(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" [{100 * figure.low:+.1f}, {100 * figure.high:+.1f}]"
    return f"{100 * figure.value:+.1f}{interval}"


def _lines(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"| --- |{' ---: |' * (len(names) - 1)}"
    yield from (f"| {' | '.join(row)} |" for row in rows if row)


def _html(table: ReproducedTable) -> str:
    environment = Environment(
        loader=PackageLoader("nbclip_trainer", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    context = {
        "title": title(table),
        "header": header(),
        "figure_rows": [[cell.replace("**", "") for cell in row] for pair in figure_rows(table) for row in pair if row],
        "notes": notes(table),
        "plot": Markup(draw_orders(table, None, "svg")),  # noqa: S704  # nosec B704
        "pair_header": pair_header(),
        "pair_rows": pair_rows(table),
        "pair_note": PAIR_NOTE,
        "order_header": ["", *columns(), "holds", "open", "opposite"],
        "order_rows": order_rows(table),
        "verdict_note": verdict_note(table),
        "diagnostic_header": ["", *_DIAGNOSTICS.values(), "alarms"],
        "diagnostic_rows": diagnostic_rows(table),
        "facts": facts(table),
    }
    return environment.get_template("experiments/table.html.j2").render(context)
