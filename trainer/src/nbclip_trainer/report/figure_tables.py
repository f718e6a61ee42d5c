"""The report's tables: figures of each run beside the floors, differences from the baseline beside the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.evaluation.pairs import MEDIAN_RANK
from nbclip_trainer.report.compared import ComparedRun, Comparison, Key
from nbclip_trainer.runs.results import ENSEMBLE, LINKED_TASK, PAIR_TASK, Figure

TASK_NAMES = {"modality": "Modality", "organ": "Organ", "modality_organ": "Modality-organ", "cui": "CUIs"}
_NARROWEST_SCALE = 0.02
_BOTH = ["chance", "raw pixels"]
_CLASS_TABLES = (
    ("model", "image→image", "image→image", "An image is the query, images are ranked.", _BOTH),
    ("model", "caption→image", "caption→image", "An image's caption is the query.", ["chance"]),
    ("model", "caption→caption", "caption→caption", "Captions are ranked for a caption.", ["chance"]),
    ("model", "image→caption", "image→caption", "Captions are ranked; a caption has the class of its image.", ["chance"]),
    ("model", "text→image", "text→image", "A class in words asks, as “MRI of the head”: one query a class.", ["chance"]),
    (
        "model",
        "image→text",
        "image→text",
        "Zero-shot: each image is assigned to one of the class texts; mean over classes.",
        ["chance"],
    ),
    (
        "model",
        "image→class",
        "Linear probe",
        "A logistic regression on frozen features; accuracy is a mean over classes.",
        _BOTH,
    ),
    ("backbone", "image→class", "Linear probe, before the projection", "", _BOTH),
    ("backbone", "image→image", "image→image, before the projection", "What the image tower has before the joint space.", _BOTH),
    (
        "backbone",
        "caption→caption",
        "caption→caption, before the projection",
        "What the text tower has before the joint space; without it the towers' features can't be compared with each other.",
        ["chance"],
    ),
)
"""Ranker, direction, title, note and floors of each table."""
_PAIR_DIRECTIONS = ("image→caption", "caption→image")
_CUI_TABLES = (
    ("model", "image→image", "image→image"),
    ("model", "caption→image", "caption→image"),
    ("model", "caption→caption", "caption→caption"),
    ("model", "image→caption", "image→caption"),
    ("backbone", "image→image", "image→image, before the projection"),
    ("backbone", "caption→caption", "caption→caption, before the projection"),
)
"""Ranker, direction and title of each table."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A run's figure, and its paired difference from the baseline (None for the baseline itself)."""

    figure: Figure | None
    difference: Figure | None


@dataclass(frozen=True, slots=True)
class Row:
    """One metric: floors where they exist, then one cell a run. `group` is the task or subset it belongs to."""

    group: str
    metric: str
    queries: int
    floors: list[float | None]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Rows under one heading; `scale` is the half width, in units of the metric, of the drawn intervals."""

    title: str
    note: str
    floors: list[str]
    rows: list[Row]

    @property
    def scale(self) -> float:
        """The largest end of an interval, for drawing all of a table's alike."""
        ends = [abs(end) for row in self.rows for cell in row.cells if cell.difference for end in _ends(cell.difference)]
        return max([*ends, _NARROWEST_SCALE])

    @property
    def groups(self) -> list[tuple[str, list[Row]]]:
        """Rows by group, in their order."""
        names = dict.fromkeys(row.group for row in self.rows)
        return [(name, [row for row in self.rows if row.group == name]) for name in names]


def excludes_zero(figure: Figure) -> bool:
    """True where the interval lies on one side of 0."""
    return figure.low is not None and figure.high is not None and (figure.low > 0 or figure.high < 0)


def middle_k(comparison: Comparison) -> int:
    """The K of P@K that stands for all where there is room for one."""
    return middle(comparison.baseline.scored.evaluation.protocol.class_ks)


def middle(ks: Sequence[int]) -> int:
    """The one in the middle of several K."""
    return ks[len(ks) // 2]


def class_tables(comparison: Comparison) -> list[FigureTable]:
    """P@K and mAP of the class tasks in each direction, zero-shot accuracy, linear probes, and features before the projection."""
    metrics = [
        *(f"P@{k}" for k in comparison.baseline.scored.evaluation.protocol.class_ks),
        "mAP",
        "accuracy",
        ENSEMBLE,
        "macro-F1",
        "AUC",
    ]
    tables = [
        FigureTable(title, note, floors, list(_rows(comparison, ranker, direction, metrics, floors)))
        for ranker, direction, title, note, floors in _CLASS_TABLES
    ]
    return [table for table in tables if table.rows]


def cui_tables(comparison: Comparison, task: str) -> list[FigureTable]:
    """The CUI@K family in each direction, by gold CUIs or by linked ones; none where no image has such."""
    metrics = [key[4] for key in comparison.baseline.figures if key[:4] == ("model", "image→image", task, "all")]
    mark = ", by linked CUIs (not gold)" if task == LINKED_TASK else ""
    families = list(dict.fromkeys(metric.partition("@")[0] for metric in metrics))
    metrics.sort(key=lambda metric: families.index(metric.partition("@")[0]))
    tables = []
    for ranker, direction, title in _CUI_TABLES:
        floors = ["chance", "raw pixels"] if direction == "image→image" else ["chance"]
        keys: list[Key] = [(ranker, direction, task, "all", metric) for metric in metrics]
        rows = [
            _row(comparison, key, family, floors, f"@{k}")
            for key in keys
            if key in comparison.baseline.figures
            for family, _, k in [key[4].partition("@")]
        ]
        tables.append(FigureTable(title + mark, "", floors, rows))
    return [table for table in tables if table.rows]


def pair_tables(comparison: Comparison) -> list[FigureTable]:
    """Recall@K in both directions, and the median rank, whose differences are drawn on a scale of their own."""
    recalls = [f"Recall@{k}" for k in comparison.baseline.scored.evaluation.protocol.recall_ks]
    tables = []
    for title, metrics in (("Recall@K", recalls), ("Median rank", [MEDIAN_RANK])):
        keys: list[Key] = [("model", direction, PAIR_TASK, "all", metric) for direction in _PAIR_DIRECTIONS for metric in metrics]
        rows = [_row(comparison, key, key[1], ["chance"]) for key in keys if key in comparison.baseline.figures]
        tables.append(FigureTable(title, "", ["chance"], rows))
    return [table for table in tables if table.rows]


def subset_tables(comparison: Comparison) -> list[FigureTable]:
    """P@K and Recall@K, each at its middle K, for the queries of each caption source and each data source."""
    recall = f"Recall@{middle(comparison.baseline.scored.evaluation.protocol.recall_ks)}"
    tables = [
        _by_subset(comparison, direction, f"P@{middle_k(comparison)}", CLASS_TASKS)
        for direction in ("image→image", "caption→image")
    ]
    tables += [_by_subset(comparison, direction, recall, (PAIR_TASK,)) for direction in _PAIR_DIRECTIONS]
    return [table for table in tables if table.rows]


def caption_sources(run: ComparedRun) -> list[tuple[str, int]]:
    """How many of the scored images have captions of each kind, most first."""
    found = run.scored.images.filter("in_class_task")["caption_source"].drop_nulls().to_list()
    return Counter(found).most_common()


def _rows(comparison: Comparison, ranker: str, direction: str, metrics: Sequence[str], floors: Sequence[str]) -> Iterator[Row]:
    for task in CLASS_TASKS:
        for metric in metrics:
            key = (ranker, direction, task, "all", metric)
            if key in comparison.baseline.figures:
                yield _row(comparison, key, TASK_NAMES[task], floors)


def _by_subset(comparison: Comparison, direction: str, metric: str, tasks: Sequence[str]) -> FigureTable:
    base = comparison.baseline.figures
    subsets = dict.fromkeys(key[3] for key in base if key[:2] == ("model", direction) and key[3] != "all")
    keys: list[Key] = [("model", direction, task, subset, metric) for subset in subsets for task in tasks]
    rows = [
        _row(comparison, key, key[3].replace("_", " ").replace("=", ": "), ["chance"], TASK_NAMES.get(key[2], metric))
        for key in keys
        if key in base and base[key].queries
    ]
    return FigureTable(f"{direction}, {metric}", "", ["chance"], rows)


def _row(comparison: Comparison, key: Key, group: str, floors: Sequence[str], label: str | None = None) -> Row:
    base = comparison.baseline.figures
    floor_figures = [base.get((floor, *key[1:])) for floor in floors]
    return Row(
        group=group,
        metric=label or key[4],
        queries=base[key].queries,
        floors=[None if figure is None else figure.value for figure in floor_figures],
        cells=[Cell(run.figures.get(key), run.differences.get(key)) for run in comparison.runs],
    )


def _ends(figure: Figure) -> tuple[float, ...]:
    return tuple(end for end in (figure.low, figure.high) if end is not None)
