"""Linear probe: what a logistic regression on frozen features reads off them (Radford et al., CLIP, 2021).

It learns from the labelled images of the run's training split and is scored on those of the scored split: the classes are those
that are scored and have enough images to learn from. Features are standardised by the training images. C is the one of
`STRENGTHS` with the highest macro-F1 on a fifth of the training images, whole cases, when trained on the others; then it is
trained on all.

    accuracy   1 where the predicted class is the image's own, else 0; mean over classes
    macro-F1   mean over classes of F1
    AUC        mean over classes of the area under the ROC curve of the class against the others
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import layout_of, read_dataset
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.settings import DataSettings
from nbclip_trainer.evaluation.bootstrap import Interval, statistic_interval
from nbclip_trainer.evaluation.classification import macro_auc, macro_f1
from nbclip_trainer.evaluation.encoding import PIXELS, Encoded
from nbclip_trainer.evaluation.labelled import ScoredImages, scored_images
from nbclip_trainer.evaluation.scoring import QUERY_SCHEMA, Candidate, image_queries, long_frames, scored_classes
from nbclip_trainer.runs.results import Figure, ProbeRecord, Ranker, ScoringProtocol

STRENGTHS = tuple(10.0**power for power in range(-4, 2))
_FOLDS = 5
FEWEST_TAUGHT = 2 * _FOLDS
"""Classes with fewer training images are left out: they would be missing in a fifth."""
_FEATURES: dict[Ranker, str] = {"model": "image", "backbone": "backbone", "raw pixels": PIXELS}
_FEWEST_CLASSES = 2
_ITERATIONS = 1000
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a probe learns from: labelled images of the training split with their features, or why there are none."""

    split: str
    reason: str
    images: ScoredImages | None = None
    encoded: Encoded | None = None


@dataclass(frozen=True, slots=True)
class Probed:
    """Accuracy per query as `scoring.score` returns it, the figures that are no means over queries, and the record."""

    queries: pl.DataFrame
    figures: tuple[Figure, ...]
    record: ProbeRecord


@dataclass(frozen=True, slots=True)
class _Task:
    """A task's classes, and rows and class codes of what is learned from and of what is scored."""

    name: str
    classes: tuple[str, ...]
    taught_rows: Codes
    taught_class: Codes
    rows: Codes
    true: Codes


def check_installed() -> None:
    """Raises InvalidInput where scikit-learn is missing."""
    if find_spec("sklearn") is None:
        raise InvalidInput("--probe: scikit-learn is not installed", hint="uv pip install 'nbclip-trainer[probe]'")


def lesson_images(data: DataSettings, images: ScoredImages, protocol: ScoringProtocol) -> tuple[ScoredImages | None, str]:
    """The images of the run's training split that have one of the scored classes, or why there are none.

    Args:
        data: the run's own, which names files and training split.
        images: those that are scored.
        protocol: says which classes are, and of which split.
    """
    split = data.train_split
    if split is None or split == protocol.class_split:
        return None, "the run was trained on the images that are scored"
    dataset = read_dataset(data.files, split, layout=layout_of(data), max_bad_row_share=data.max_bad_row_share)
    wanted = [pl.col(task).is_in(scored_classes(images, task, protocol)) for task in CLASS_TASKS if task in dataset.frame.columns]
    frame = dataset.frame.filter(pl.any_horizontal(wanted).fill_null(value=False)) if wanted else dataset.frame.clear()
    if frame.is_empty():
        return None, f"split {split!r} has no label of a class that is scored"
    return scored_images(frame, pl.col("image_id").is_not_null(), pl.lit(value=False)), ""


def probe(lesson: Lesson, encoded: Encoded, images: ScoredImages, protocol: ScoringProtocol) -> Probed:
    """Trains and scores a probe for each class task, on the features of each ranker; needs scikit-learn (`check_installed`).

    Args:
        lesson: what it learns from.
        encoded: features of `images`.
        images: what it is scored on.
        protocol: its classes and resampling.
    """
    taught, features = lesson.images, lesson.encoded
    if taught is None or features is None:
        nothing = ProbeRecord(split=lesson.split, pictures=0, strengths={}, skipped=dict.fromkeys(CLASS_TASKS, lesson.reason))
        return Probed(pl.DataFrame(schema=QUERY_SCHEMA), (), nothing)
    frames: list[pl.DataFrame] = [pl.DataFrame(schema=QUERY_SCHEMA)]
    figures: list[Figure] = []
    skipped, strengths = dict[str, str](), dict[str, float]()
    for rows in (_rows(task, taught, images, protocol) for task in CLASS_TASKS):
        if len(rows.classes) < _FEWEST_CLASSES:
            skipped[rows.name] = f"under two scored classes with {FEWEST_TAUGHT} images of split {lesson.split!r}"
            continue
        for ranker, name in ((ranker, name) for ranker, name in _FEATURES.items() if name in encoded):
            strength, chances_QC = _predicted(rows, features[name], encoded[name], taught.case[rows.taught_rows])
            strengths[f"{rows.name}, {ranker}"] = strength
            frames += _accuracy(ranker, rows, chances_QC, images)
            figures += _figures(ranker, rows, chances_QC, images.case[rows.rows], protocol)
    record = ProbeRecord(split=lesson.split, pictures=taught.frame.height, strengths=strengths, skipped=skipped)
    return Probed(pl.concat(frames), tuple(figures), record)


def _rows(task: str, taught: ScoredImages, images: ScoredImages, protocol: ScoringProtocol) -> _Task:
    sizes = Counter(taught.frame[task].drop_nulls().to_list())
    classes = tuple(name for name in scored_classes(images, task, protocol) if sizes[name] >= FEWEST_TAUGHT)
    taught_rows, taught_class = _coded(taught.frame[task], classes)
    rows, true = _coded(images.frame[task][images.class_rows], classes)
    return _Task(task, classes, taught_rows, taught_class, images.class_rows[rows], true)


def _coded(labels: pl.Series, classes: Sequence[str]) -> tuple[Codes, Codes]:
    """Rows that have one of the classes, and its code."""
    code_of = {name: code for code, name in enumerate(classes)}
    found = [(row, code_of[label]) for row, label in enumerate(labels) if label in code_of]
    rows, codes = np.array(found, np.int64).reshape(-1, 2).T
    return rows, codes


def _predicted(
    task: _Task, taught_ND: npt.NDArray[np.float32], feature_ND: npt.NDArray[np.float32], taught_case: Codes
) -> tuple[float, npt.NDArray[np.float64]]:
    """C, and the probability of each class for the scored images, [Q, C]."""
    learned_ND = taught_ND[task.taught_rows].astype(np.float64)
    mean_D, deviation_D = learned_ND.mean(axis=0), np.maximum(learned_ND.std(axis=0), 1e-9)
    learned_ND = (learned_ND - mean_D) / deviation_D
    strength = _strength(learned_ND, task.taught_class, taught_case)
    scored_QD = (feature_ND[task.rows] - mean_D) / deviation_D
    return strength, _fitted(strength, learned_ND, task.taught_class).predict_proba(scored_QD)


def _strength(feature_ND: npt.NDArray[np.float64], class_N: Codes, case_N: Codes) -> float:
    """The C with the highest macro-F1 on a fifth of the cases; of equal ones the smallest."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    learned, held = next(iter(folds.split(feature_ND, class_N, case_N)))
    if len(set(class_N[learned].tolist())) < _FEWEST_CLASSES or not len(held):
        return STRENGTHS[len(STRENGTHS) // 2]

    def merit(strength: float) -> float:
        predicted_H = _fitted(strength, feature_ND[learned], class_N[learned]).predict(feature_ND[held])
        return float(macro_f1(np.ones((1, len(held))), class_N[held], predicted_H)[0])

    return max(STRENGTHS, key=merit)


def _fitted(strength: float, feature_ND: npt.NDArray[np.float64], class_N: Codes) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # So many iterations are the probe's definition; whether they converge, is told by the held-out fifth.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=_ITERATIONS).fit(feature_ND, class_N)


def _accuracy(ranker: Ranker, task: _Task, chances_QC: npt.NDArray[np.float64], images: ScoredImages) -> Iterator[pl.DataFrame]:
    right_Q = (chances_QC.argmax(axis=1) == task.true).astype(np.float64)
    by_chance_Q = np.full(len(right_Q), 1 / len(task.classes))
    candidate = Candidate(ranker, np.empty((0, 0), np.float32), with_chance=ranker == "model")
    queries = image_queries(images, task.rows, task.name)
    yield from long_frames(({"accuracy": right_Q}, {"accuracy": by_chance_Q}), "image→class", task.name, queries, candidate)


def _figures(
    ranker: Ranker, task: _Task, chances_QC: npt.NDArray[np.float64], case_Q: Codes, protocol: ScoringProtocol
) -> Iterator[Figure]:
    statistics = {
        "macro-F1": partial(macro_f1, true_Q=task.true, predicted_Q=chances_QC.argmax(axis=1)),
        "AUC": partial(macro_auc, true_Q=task.true, score_QC=chances_QC),
    }
    for metric, statistic in statistics.items():
        interval = statistic_interval(statistic, case_Q, resamples=protocol.resamples, level=protocol.level, seed=protocol.seed)
        yield _figure(ranker, task, metric, interval)


def _figure(ranker: Ranker, task: _Task, metric: str, interval: Interval) -> Figure:
    value, low, high = (None if np.isnan(number) else number for number in (interval.value, interval.low, interval.high))
    return Figure(
        ranker=ranker,
        direction="image→class",
        task=task.name,
        subset="all",
        metric=metric,
        value=value,
        low=low,
        high=high,
        queries=len(task.rows),
        unanswered=0,
        classes=len(task.classes),
    )
