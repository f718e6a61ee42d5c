"""The report's tables: figures of each run beside the floors, differences from the baseline beside the figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.report.compared import ComparedRun, Comparison, Key
from nbclip_trainer.runs.results import Figure

TASK_NAMES = {"modality": "Modality", "organ": "Organ", "modality_organ": "Modality-organ", "cui": "CUIs"}
_NARROWEST_SCALE = 0.02
_BOTH = ["chance", "raw pixels"]
_CLASS_TABLES = (
    ("model", "image→image", "image→image", "An image is the query, images are ranked.", _BOTH),
    ("model", "caption→image", "caption→image", "An image's caption is the query.", ["chance"]),
    ("model", "image→caption", "image→caption", "Captions are ranked; a caption has the class of its image.", ["chance"]),
    ("model", "text→image", "text→image", "A class in words asks, as “MRI of the head”: one query a class.", ["chance"]),
    (
        "model",
        "image→text",
        "image→text",
        "Zero-shot: each image is assigned to one of the class texts; mean over classes.",
        ["chance"],
    ),
    ("backbone", "image→image", "image→image, before the projection", "What the image tower has before the joint space.", _BOTH),
)
"""Ranker, direction, title, note and floors of each table."""
_CUI_DIRECTIONS = ("image→image", "caption→image", "image→caption")


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


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a run's targets were like, mean over its diagnostics; None where it logged none or its loss has no target rows."""

    name: str
    place: int
    neighbour_mass: float | None
    effective_positives: float | None
    target_entropy: float | None
    largest_entropy: float
    one_hot: float | None
    without_knowledge: float | None
    spearman: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Standing:
    """A bar of the first chart: the mean over the class tasks; `place` is None for a floor."""

    name: str
    place: int | None
    value: float


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a run's image→image P@K figures lie above, below, or on either side of the baseline's."""

    name: str
    place: int
    above: int
    below: int
    open: int


def excludes_zero(figure: Figure) -> bool:
    """True where the interval lies on one side of 0."""
    return figure.low is not None and figure.high is not None and (figure.low > 0 or figure.high < 0)


def middle_k(comparison: Comparison) -> int:
    """The K that stands for all where there is room for one."""
    ks = comparison.baseline.scored.evaluation.protocol.class_ks
    return ks[len(ks) // 2]


def class_tables(comparison: Comparison) -> list[FigureTable]:
    """P@K and mAP of the class tasks in each direction, zero-shot accuracy, and the features before the projection."""
    metrics = [*(f"P@{k}" for k in comparison.baseline.scored.evaluation.protocol.class_ks), "mAP", "accuracy"]
    tables = [
        FigureTable(title, note, floors, list(_rows(comparison, ranker, direction, metrics, floors)))
        for ranker, direction, title, note, floors in _CLASS_TABLES
    ]
    return [table for table in tables if table.rows]


def cui_tables(comparison: Comparison) -> list[FigureTable]:
    """The CUI@K family in each direction; none where no image has gold CUIs."""
    metrics = [key[4] for key in comparison.baseline.figures if key[:4] == ("model", "image→image", "cui", "all")]
    families = list(dict.fromkeys(metric.partition("@")[0] for metric in metrics))
    metrics.sort(key=lambda metric: families.index(metric.partition("@")[0]))
    tables = []
    for direction in _CUI_DIRECTIONS if metrics else ():
        floors = ["chance", "raw pixels"] if direction == "image→image" else ["chance"]
        keys: list[Key] = [("model", direction, "cui", "all", metric) for metric in metrics]
        rows = [_row(comparison, key, family, floors, f"@{k}") for key in keys for family, _, k in [key[4].partition("@")]]
        tables.append(FigureTable(direction, "", floors, rows))
    return tables


def subset_tables(comparison: Comparison) -> list[FigureTable]:
    """P@K at the middle K for the queries of each caption source and each data source."""
    metric, base = f"P@{middle_k(comparison)}", comparison.baseline.figures
    tables = []
    for direction in ("image→image", "caption→image"):
        subsets = dict.fromkeys(key[3] for key in base if key[:2] == ("model", direction) and key[3] != "all")
        keys: list[Key] = [("model", direction, task, subset, metric) for subset in subsets for task in CLASS_TASKS]
        rows = [
            _row(comparison, key, key[3].replace("_", " ").replace("=", ": "), ["chance"], TASK_NAMES[key[2]])
            for key in keys
            if key in base and base[key].queries
        ]
        tables.append(FigureTable(f"{direction}, {metric}", "", ["chance"], rows))
    return [table for table in tables if table.rows]


def calibrations(runs: Sequence[ComparedRun]) -> list[Calibration]:
    """What each run's targets were like."""
    return [_calibration(run) for run in runs]


def standings(comparison: Comparison) -> list[Standing]:
    """Image→image P@K at the middle K, mean over the class tasks: the floors, then the runs. None without class tasks."""
    metric = f"P@{middle_k(comparison)}"

    def mean(run: ComparedRun, ranker: str) -> float | None:
        figures = [run.figures.get((ranker, "image→image", task, "all", metric)) for task in CLASS_TASKS]
        values = [figure.value for figure in figures if figure is not None and figure.value is not None]
        return fmean(values) if values else None

    floors = [(name, None, mean(comparison.baseline, name)) for name in ("chance", "raw pixels")]
    runs = [(run.name, run.place, mean(run, "model")) for run in comparison.runs]
    return [Standing(name, place, value) for name, place, value in (*floors, *runs) if value is not None]


def tallies(comparison: Comparison) -> list[Tally]:
    """One tally for each run that is not the baseline; none where no class was large enough to be scored."""
    ks = comparison.baseline.scored.evaluation.protocol.class_ks
    keys: list[Key] = [("model", "image→image", task, "all", f"P@{k}") for task in CLASS_TASKS for k in ks]
    keys = [key for key in keys if key in comparison.baseline.figures]
    return [_tally(run, [run.differences[key] for key in keys]) for run in comparison.others if keys]


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


def _tally(run: ComparedRun, found: Sequence[Figure]) -> Tally:
    above = sum(excludes_zero(figure) and (figure.value or 0) > 0 for figure in found)
    below = sum(excludes_zero(figure) and (figure.value or 0) < 0 for figure in found)
    return Tally(run.name, run.place, above, below, len(found) - above - below)


def _calibration(run: ComparedRun) -> Calibration:
    loss, targets = run.config.loss, run.config.targets
    records = [record for record in run.records if record["kind"] == "diagnostics"]
    has_mass = loss.compares_rows and targets.form == "recommended" and targets.knowledge != "identity"

    def mean(name: str) -> float | None:
        values = [float(record[name]) for record in records if record.get(name) is not None]
        return fmean(values) if values else None

    spearman = [float(record["spearman"]) for record in records if record.get("spearman") is not None]
    return Calibration(
        name=run.name,
        place=run.place,
        neighbour_mass=targets.neighbour_mass if has_mass else None,
        effective_positives=mean("effective_positives") if loss.compares_rows else None,
        target_entropy=mean("target_entropy") if loss.compares_rows else None,
        largest_entropy=math.log(run.config.batch_size),
        one_hot=mean("one_hot") if loss.compares_rows else None,
        without_knowledge=mean("without_knowledge"),
        spearman=(spearman[0], spearman[-1]) if spearman else None,
    )


def _ends(figure: Figure) -> tuple[float, ...]:
    return tuple(end for end in (figure.low, figure.high) if end is not None)
