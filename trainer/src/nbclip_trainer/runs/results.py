"""What an evaluation leaves in a folder: the run's own in the run's, under `evaluation/`.

metrics.json      `Evaluation`: how it was scored, on what, and every figure with its interval
queries.parquet   one row a query and metric, for paired comparison of runs; columns below
features.npz      `image` and `caption` in the joint space and `backbone` before the projection, float32, rows as in images
pictures.parquet  id, file, caption, labels, CUIs, licence of each image, and its place in the class and the CUI task
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import BrokenArtefact, InvalidInput, NotFound
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.folder import no_run

Direction = Literal["image→image", "caption→image", "image→caption", "text→image", "image→text"]
Ranker = Literal["model", "backbone", "raw pixels", "chance"]
Float32 = npt.NDArray[np.float32]

KEYS = ("ranker", "direction", "task", "metric", "query")
QUERY_COLUMNS = (*KEYS, "stratum", "case", "caption_source", "source", "value")
"""`stratum` is the query's class, over which figures are macro averages; `case` what it is resampled with."""
_FILES_NAMED = 3


class Record(BaseModel):
    """A part of metrics.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoringProtocol(Record):
    """How a run is scored. Runs are compared under equal protocols only."""

    class_split: str = Field("retrieval", description="images of P@K and mAP")
    cui_splits: tuple[str, ...] = Field(("retrieval",), description="images of CUI@K; not the train split")
    class_ks: tuple[int, ...] = Field((5, 10, 30), min_length=1, description="K of P@K")
    cui_ks: tuple[int, ...] = Field((5, 10, 50), min_length=1, description="K of CUI@K")
    minimum_class_size: int = Field(30, ge=2, description="smaller classes are distractors, never queries")
    resamples: int = Field(1000, ge=100, description="bootstrap resamples behind each interval")
    level: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    seed: int = Field(0, ge=0, description="of the resampling")


class Figure(Record):
    """One number of the table; null where no query has one, `low` and `high` also where too few cases stand behind it.

    `subset` is `all`, or the queries of one `caption_source=…` or `source=…`. `unanswered` queries have no relevant candidate
    and don't count. `classes` is over how many classes the mean is taken, 1 where it is plainly over queries.
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


class Evaluation(Record):
    """The whole of metrics.json."""

    format: Literal[1] = 1
    run: str
    run_folder: str = Field("..", description="the run's folder, relative to that of the evaluation")
    settings: tuple[str, ...] = Field((), description="`a.b=c` of how the data were read, over the run's settings")
    checkpoint: str
    protocol: ScoringProtocol
    data: tuple[DataFile, ...]
    class_pictures: int
    cui_pictures: int
    without_cuis: int = Field(description="images of the CUI splits left out because they have no CUIs")
    classes: dict[str, ClassCount]
    ontology: str = Field(description="where is_a came from; empty: cui_onto was left out")
    figures: tuple[Figure, ...]

    @property
    def asked(self) -> str:
        """The data and the split that it was made on, in words."""
        names = [Path(file.path).name for file in self.data]
        rest = f" and {len(names) - _FILES_NAMED} more" if len(names) > _FILES_NAMED else ""
        return f"{', '.join(names[:_FILES_NAMED])}{rest}, split {self.protocol.class_split}"


@dataclass(frozen=True, slots=True)
class Scored:
    """An evaluation as it lies on disk; `features` has `image`, `caption` and `backbone`."""

    evaluation: Evaluation
    queries: pl.DataFrame
    images: pl.DataFrame
    features: dict[str, Float32]


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
    """Writes the four files, metrics.json last, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "queries.parquet") as path:
        scored.queries.write_parquet(path)
    with replacing(folder / "pictures.parquet") as path:
        scored.images.write_parquet(path)
    with replacing(folder / "features.npz") as path, path.open("wb") as file:
        np.savez(file, **scored.features)  # type: ignore[arg-type]  # no feature is called allow_pickle
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
            features = {name: file[name] for name in ("image", "caption", "backbone")}
        return Scored(
            Evaluation.model_validate_json((folder / "metrics.json").read_bytes()),
            pl.read_parquet(folder / "queries.parquet"),
            pl.read_parquet(folder / "pictures.parquet"),
            features,
        )
    except (OSError, ValueError, KeyError, EOFError, ValidationError, pl.exceptions.PolarsError) as error:
        raise BrokenArtefact(f"{folder}: damaged: {str(error).splitlines()[0]}", hint="evaluate the run again") from error


def check_comparable(first: Scored, second: Scored) -> None:
    """Refuses to compare runs that were asked different questions.

    Raises:
        InvalidInput: another protocol, other data, or other queries.
    """
    ours, theirs = first.evaluation, second.evaluation
    same_data = {file.sha256 for file in ours.data} == {file.sha256 for file in theirs.data}
    if ours.protocol != theirs.protocol or not same_data or first.queries.height != second.queries.height:
        raise InvalidInput(
            f"{ours.run} ({ours.asked}) and {theirs.run} ({theirs.asked}) were evaluated on different data or by different "
            "protocols",
            hint="evaluate both with the same --data and settings",
        )
