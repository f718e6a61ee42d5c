"""What an evaluation leaves in a folder: the run's own in the run's, under `evaluation/`.

metrics.json      `Evaluation`: how it was scored, on what, and every figure with its interval
queries.parquet   one row a query and metric, for paired comparison of runs; columns below
features.npz      `image` and `caption` in the joint space, `backbone` and `caption_backbone` before the projections, float32,
                  rows as in pictures; without `caption_backbone` where the text tower projects nothing
pictures.parquet  id, file, caption, labels, CUIs, licence of each image, and its place in the class and the CUI task
concepts.json     names of the images' CUIs, as far as a service told them
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.folder import no_run

Direction = Literal["image→image", "caption→caption", "caption→image", "image→caption", "text→image", "image→text", "image→class"]
Ranker = Literal["model", "backbone", "raw pixels", "chance"]
Float32 = npt.NDArray[np.float32]

CUI_TASK, LINKED_TASK = "cui", "cui_linked"
"""CUI@K by gold CUIs alone, and by those that a linker found in the captions alone."""
PAIR_TASK = "pair"
"""The task of finding an image's own caption, and a caption's own image."""
ENSEMBLE = "ensemble accuracy"
"""Zero-shot accuracy by prompt ensembles, beside that by one text a class."""
PROMPTS = (
    "{}",
    "{}.",
    "a medical image: {}",
    "a radiology image of the {}",
    "this is an image of the {}",
    "an example of {}",
    "{} of a patient",
)
"""Templates of a prompt ensemble; `{}` stands for the class."""
KEYS = ("ranker", "direction", "task", "metric", "query")
QUERY_COLUMNS = (*KEYS, "stratum", "case", "caption_source", "source", "value")
"""`stratum` is the query's class, over which figures are macro averages; `case` what it is resampled with."""
_FILES_NAMED = 3
_NAMES = "concepts.json"


class Record(BaseModel):
    """A part of metrics.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoringProtocol(Record):
    """How a run is scored. Runs are compared under equal protocols only."""

    class_split: str = Field("retrieval", description="images of P@K, mAP and Recall@K")
    cui_splits: tuple[str, ...] = Field(("retrieval",), description="images of CUI@K; not the train split")
    where: dict[str, tuple[str, ...]] = Field({}, description="of them, those with one of these values in each column; none: all")
    class_ks: tuple[int, ...] = Field((5, 10, 30), min_length=1, description="K of P@K")
    cui_ks: tuple[int, ...] = Field((5, 10, 50), min_length=1, description="K of CUI@K")
    recall_ks: tuple[int, ...] = Field((1, 5, 10), min_length=1, description="K of Recall@K")
    prompts: tuple[str, ...] = Field(PROMPTS, min_length=1, description="templates of the prompt ensembles")
    minimum_class_size: int = Field(30, ge=2, description="smaller classes are distractors, never queries")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind each interval")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    seed: int = Field(0, ge=0, description="of the resampling")


class Figure(Record):
    """One number of the table; null where no query has one, `low` and `high` also where too few cases stand behind it.

    `subset` is `all`, or the queries of one `caption_source=…` or `source=…`. `unanswered` queries have no relevant candidate
    and don't count. `classes` is over how many classes the mean is taken, 1 where it is plainly over queries. `median rank` is
    a median, every other metric a mean.
    """

    ranker: str
    direction: str
    task: str
    subset: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    queries: int
    unanswered: int
    classes: int


class DataFile(Record):
    """A file that was scored on."""

    path: str
    sha256: str


class ClassCount(Record):
    """A class task's images: classes scored, classes under the minimum, images without a label."""

    scored: dict[str, int]
    too_small: dict[str, int]
    unlabelled: int


class LinkedLabels(Record):
    """CUIs of captions that a linker found, which are no gold ones: what the task `cui_linked` is scored by."""

    linker: str
    service: str
    pictures: int
    without_concepts: int = Field(description="images left out because the linker found nothing in their captions")


class ProbeRecord(Record):
    """How a linear probe was trained: from how many images of which split, with which C, and why tasks were skipped."""

    split: str
    pictures: int
    strengths: dict[str, float] = Field(description="C of each task and ranker")
    skipped: dict[str, str] = Field(description="reasons by task")


class Evaluation(Record):
    """The whole of metrics.json. Fields with defaults are later than 0.1.0."""

    format: Literal[1] = 1
    run: str
    run_folder: str = Field("..", description="the run's folder, relative to that of the evaluation")
    settings: tuple[str, ...] = Field((), description="`a.b=c` of how the data were read, over the run's settings")
    checkpoint: str
    step: int | None = Field(None, description="steps that the checkpoint had behind it")
    best_by: str | None = Field(None, description="figure of the validation by which it is the best")
    protocol: ScoringProtocol
    data: tuple[DataFile, ...]
    class_pictures: int
    distinct_captions: int = Field(0, description="different captions of these images; equal ones are right for each other")
    cui_pictures: int
    without_cuis: int = Field(description="images of the CUI splits left out because they have no CUIs")
    classes: dict[str, ClassCount]
    linked: LinkedLabels | None = Field(None, description="what cui_linked was scored by; null: it was not asked for")
    probe: ProbeRecord | None = Field(None, description="the linear probe; null: it was not asked for")
    ontology: str = Field(description="where is_a came from; empty: cui_onto was left out")
    logit_scale: float | None = Field(None, description="exp(logit_scale) of the model that was scored")
    averaged: bool = Field(False, description="scored with the average of the weights (optim.ema_decay), not with the last ones")
    figures: tuple[Figure, ...]

    @property
    def chosen(self) -> str:
        """The checkpoint in words, such as `best by recall, step 120`."""
        rule = self.checkpoint if self.best_by is None else f"{self.checkpoint} by {self.best_by}"
        return rule if self.step is None else f"{rule}, step {self.step}"

    @property
    def asked(self) -> str:
        """The data and the split that it was made on, in words."""
        names = short_names([file.path for file in self.data])
        rest = f" and {len(names) - _FILES_NAMED} more" if len(names) > _FILES_NAMED else ""
        return f"{', '.join(names[:_FILES_NAMED])}{rest}, split {self.protocol.class_split}"


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation as it lies on disk; `features` are those of features.npz, `names` of CUIs those of concepts.json."""

    evaluation: Evaluation
    queries: pl.DataFrame
    images: pl.DataFrame
    features: dict[str, Float32]
    names: Mapping[str, str] = field(default_factory=dict)


def short_names(paths: Sequence[str]) -> list[str]:
    """Names of files, with their folder's before them where two are alike."""
    names = [Path(path).name for path in paths]
    return [
        f"{Path(path).parent.name}/{name}" if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)
    ]


def own_evaluation(run_dir: Path) -> Path:
    """The folder of a run's own evaluation, which the model card shows."""
    return run_dir / "evaluation"


def run_of(folder: Path, evaluation: Evaluation) -> Path:
    """The run of an evaluation that was read from a folder; the folder itself where it is the run.

    Raises:
        NotFound: it is not where it was.
    """
    if (folder / "run.json").is_file():
        return folder
    run_dir = (folder / evaluation.run_folder).resolve()
    if not (run_dir / "run.json").is_file():
        raise NotFound(
            f"{folder}: an evaluation of the run {evaluation.run}, which is not at {run_dir}",
            hint="move the two together, or evaluate again with --out",
        )
    return run_dir


def write_scored(folder: Path, scored: Scored) -> Path:
    """Writes the files, metrics.json last, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "queries.parquet") as path:
        scored.queries.write_parquet(path)
    with replacing(folder / "pictures.parquet") as path:
        scored.images.write_parquet(path)
    with replacing(folder / "features.npz") as path, path.open("wb") as file:
        np.savez(file, **scored.features)  # type: ignore[arg-type]  # no feature is called allow_pickle
    with replacing(folder / _NAMES) as path:
        path.write_text(json.dumps(dict(scored.names), ensure_ascii=False, indent=1), encoding="utf-8")
    with replacing(folder / "metrics.json") as path:
        path.write_text(scored.evaluation.model_dump_json(indent=1), encoding="utf-8")
    return folder / "metrics.json"


def read_scored(given: Path) -> Scored:
    """Reads the evaluation that a folder holds, or the own one of the run that it holds.

    Raises:
        NotFound: the folder holds neither, or a run that was not evaluated.
        BrokenArtefact: a file is damaged or missing.
    """
    folder = given if (given / "metrics.json").is_file() else own_evaluation(given)
    if not (folder / "metrics.json").is_file():
        if not (given / "run.json").is_file():
            raise no_run(given)
        raise NotFound(f"{given}: not evaluated", hint=f"nbclip evaluate {given}")
    try:
        with np.load(folder / "features.npz", allow_pickle=False) as file:
            features = {name: file[name] for name in {"image", "caption", "backbone", *file.files}}
        return Scored(
            Evaluation.model_validate_json((folder / "metrics.json").read_bytes()),
            pl.read_parquet(folder / "queries.parquet"),
            pl.read_parquet(folder / "pictures.parquet"),
            features,
            _read_names(folder / _NAMES),
        )
    except (OSError, ValueError, KeyError, EOFError, ValidationError, pl.exceptions.PolarsError) as error:
        raise BrokenArtefact(f"{folder}: damaged: {str(error).splitlines()[0]}", hint="evaluate the run again") from error


def _read_names(path: Path) -> dict[str, str]:
    """Names by CUI; none where an older evaluation kept none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def check_comparable(first: Scored, second: Scored) -> None:
    """Refuses to compare runs that were asked different questions.

    Raises:
        InvalidInput: another protocol, other data, or other queries.
    """
    ours, theirs = first.evaluation, second.evaluation
    same_queries = len({one.queries.filter(pl.col("ranker") == "model").height for one in (first, second)}) == 1
    same_data = {file.sha256 for file in ours.data} == {file.sha256 for file in theirs.data}
    linkers = [one.linked and one.linked.linker for one in (ours, theirs)]
    if ours.protocol != theirs.protocol or not same_data or not same_queries or linkers[0] != linkers[1]:
        raise InvalidInput(
            f"{ours.run} ({ours.asked}) and {theirs.run} ({theirs.asked}) were evaluated on different data or by different "
            "protocols",
            hint="evaluate both with the same --data and settings",
        )
