"""Tables and plots of what the linkers reached, as `docs/linking.md` shows them."""

from __future__ import annotations

import os
import platform
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from corpora import Document
from kg_service.linking.fitting.scoring import Hit, Score
from runner import HERE, REPOSITORY, Index, Peer, Settings
from tasks import GROUPS, OTHER, TASKS, Task, score_by_group

PAGE = REPOSITORY / "docs" / "linking.md"
PLOT = REPOSITORY / "docs" / "linking" / "precision-recall.svg"
_RESULTS = re.compile(r"(?<=<!-- results -->\n).*(?=<!-- /results -->)", re.DOTALL)
_NAMES = {"roco": "ROCO", "bc5cdr": "BC5CDR", "medmentions": "MedMentions"}
_GROUP_TASKS = (Task("roco", "A"), Task("medmentions", "A"))


@dataclass(frozen=True, slots=True)
class Result:
    """A linker's figures for a task.

    Attributes:
        settings: those chosen.
        scores: by level: `span`, `document`, and `all` for the documents of both parts.
        curve: the scores of each of the peer's settings.
        hits: what it found with the settings chosen.
        texts: in these.
        texts_per_s: texts per CPU second.
        peak_mb: of the process that linked.
        index: what it linked with.
    """

    settings: Settings
    scores: dict[str, Score]
    curve: list[Score]
    hits: list[list[Hit]]
    texts: Sequence[Document]
    texts_per_s: float
    peak_mb: float
    index: Index


Results = dict[Peer, dict[Task, Result]]


def write_report(results: Results) -> None:
    """Puts the tables between the markers of `docs/linking.md`, and draws the curves beside it."""
    PLOT.parent.mkdir(exist_ok=True)
    draw_curves(results, PLOT)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_RESULTS.sub(lambda _: render(results), page), encoding="utf-8")


def render(results: Results) -> str:
    """The tables in Markdown."""
    tables = {
        "F1": _score_table(results, lambda score: f"{100 * score.f1:.1f}"),
        "Precision / recall": _score_table(results, lambda score: f"{100 * score.precision:.1f} / {100 * score.recall:.1f}"),
        "F1 by semantic group, vocabulary A, documents": _group_table(results),
        "Cost": _cost_table(results),
        "Settings chosen": _settings_table(results),
    }
    made = f"{datetime.now(UTC):%Y-%m-%d}, `make bench-linking`, one core of: {_machine()}."
    return "\n".join([made, *(f"\n### {title}\n\n{table}" for title, table in tables.items())]) + "\n"


def _machine() -> str:
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    model = names[0] if names else platform.processor()
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.is_file() else []


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows)) + "\n"


def _title(peer: Peer) -> str:
    return f"{peer.title} ({peer.distribution} {_version(peer)})"


def _version(peer: Peer) -> str:
    pinned = re.search(rf"^{peer.distribution}==(\S+)", "\n".join(_lines(str(HERE / "peers" / f"{peer.name}.txt"))), re.MULTILINE)
    if peer.beside:
        locked = tomllib.loads((REPOSITORY / "uv.lock").read_text())["package"]
        return next(package["version"] for package in locked if package["name"] == peer.distribution)
    return pinned[1] if pinned else metadata.version(peer.distribution)


def _score_table(results: Results, cell: Callable[[Score], str]) -> str:
    """One row a linker; the best F1 without labels is emphasised."""
    columns = list({(task, level): None for cases in results.values() for task in TASKS for level in cases[task].scores})
    best = {
        (task, level): max(cases[task].scores[level].f1 for peer, cases in results.items() if not peer.labelled)
        for task, level in columns
    }

    def cells(cases: dict[Task, Result]) -> Iterator[str]:
        for task, level in columns:
            score = cases[task].scores.get(level)
            yield "–" if score is None else _emphasise(cell(score), score.f1 == best[task, level])

    head = ["linker", *(_column(task, level) for task, level in columns)]
    return _table(head, ([_title(peer), *cells(cases)] for peer, cases in results.items()))


def _column(task: Task, level: str) -> str:
    kind = {"span": "spans", "document": "documents", "all": "all captions"}[level]
    return f"{_NAMES[task.corpus]} {task.vocabulary}" + ("" if task.corpus == "roco" and level == "document" else f", {kind}")


def _emphasise(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text


def _group_table(results: Results) -> str:
    head, columns = ["group"], []
    for task in _GROUP_TASKS:
        ours, *others = (peer for peer in results if not peer.labelled)
        shown = [ours, *sorted(others, key=lambda peer: -results[peer][task].scores["document"].f1)[:1]]
        found = [score_by_group(task, results[peer][task].texts, results[peer][task].hits) for peer in shown]
        head += [f"{_NAMES[task.corpus]}: gold", *(f"{peer.title} (P / R)" for peer in shown)]
        columns.append(found)
    rows = [[name, *(cell for found in columns for cell in _group_cells(found, name))] for name in (*GROUPS, OTHER)]
    return _table(head, rows)


def _group_cells(found: Sequence[dict[str, Score]], group: str) -> list[str]:
    scores = [by_group.get(group, Score()) for by_group in found]
    cells = [f"{100 * score.f1:.1f} ({100 * score.precision:.1f} / {100 * score.recall:.1f})" for score in scores]
    return [f"{scores[0].gold:,}", *cells]


def _cost_table(results: Results) -> str:
    head = [
        "linker",
        "captions per CPU s",
        "abstracts per CPU s",
        "peak MB",
        "index: CPU s",
        "index: peak MB",
        "index: MB on disk",
    ]
    rows = []
    for peer, cases in results.items():
        captions, abstracts = cases[Task("roco", "A")], cases[Task("bc5cdr", "A")]
        index = captions.index
        figures = (captions.texts_per_s, abstracts.texts_per_s, captions.peak_mb, index.cpu_s, index.peak_mb, index.size_mb)
        rows.append([_title(peer), *(f"{figure:,.0f}" for figure in figures)])
    return _table(head, rows)


def _settings_table(results: Results) -> str:
    rows = [
        [peer.title, *(", ".join(f"{key} {value}" for key, value in cases[task].settings.items()) or "–" for task in TASKS)]
        for peer, cases in results.items()
    ]
    return _table(["linker", *(f"{_NAMES[task.corpus]} {task.vocabulary}" for task in TASKS)], rows)


def draw_curves(results: Results, path: Path) -> None:
    """Precision over recall for each task, the settings chosen marked."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "linking", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
    panels = axes.ravel()
    for panel, task in zip(panels, TASKS, strict=False):
        for peer, cases in results.items():
            _draw_curve(panel, peer, cases[task])
        level = "documents" if task.corpus == "roco" else "spans"
        panel.set(title=f"{_NAMES[task.corpus]}, vocabulary {task.vocabulary}, {level}", xlabel="recall", ylabel="precision")
        panel.grid(alpha=0.3)
    panels[-1].axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw_curve(panel: Any, peer: Peer, result: Result) -> None:
    line = "-" if peer.knob else "none"
    # Settings come with the default first; along the knob recall falls.
    curve = sorted(result.curve, key=lambda score: score.recall)
    recall, precision = [score.recall for score in curve], [score.precision for score in curve]
    (drawn,) = panel.plot(recall, precision, linestyle=line, marker=".", label=peer.title)
    chosen = next(iter(result.scores.values()))
    panel.plot(chosen.recall, chosen.precision, marker="o", color=drawn.get_color())
