"""Where figures go beside the run's own files: TensorBoard always, Weights & Biases and MLflow where `log.boards` names them.

A resumed run continues its runs there: their ids lie in `boards.json` of its folder.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from nbclip.errors import InvalidInput
from torch.utils.tensorboard.writer import SummaryWriter

from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.folder import flattened
from nbclip_trainer.runs.settings import BoardName, LogSettings

_log = logging.getLogger(__name__)
_HINTS: dict[BoardName, str] = {
    "wandb": "`wandb login`, or WANDB_MODE=offline",
    "mlflow": "MLFLOW_TRACKING_URI=http://HOST:PORT names a server that is reached from here",
}
Figures = Mapping[str, float]
"""Finite numbers by `kind/name`."""


class Board(Protocol):
    """Shows figures during a run."""

    def add(self, step: int, figures: Figures) -> None:
        """Adds what held after `step` optimizer steps."""
        ...

    def close(self, *, failed: bool) -> None:
        """Sends what has not been sent, and says how the run ended."""
        ...


def check_boards(log: LogSettings) -> None:
    """Raises InvalidInput if a board of `log.boards` is not installed: before the data are read."""
    for name in log.boards:
        if find_spec(name) is None:
            raise InvalidInput(
                f"log.boards={name}: not installed", hint=f"uv pip install 'nbclip-trainer[{name}]', or leave it out"
            )


def open_boards(run_dir: Path, log: LogSettings, settings: Mapping[str, Any], first_step: int) -> list[Board]:
    """TensorBoard, and the boards of `log.boards`.

    Args:
        run_dir: the run's folder.
        log: which boards, in which project.
        settings: the run's whole tree, which the boards show.
        first_step: steps that are done; what TensorBoard has of later ones is dropped.

    Raises:
        InvalidInput: one does not let us in.
    """
    boards: list[Board] = [_TensorBoard(run_dir, first_step)]
    opened: dict[BoardName, Callable[[Path, str, Mapping[str, Any]], Board]] = {"wandb": _WeightsAndBiases, "mlflow": _MLflow}
    for name in log.boards:
        try:
            boards.append(opened[name](run_dir, log.project, settings))
        except Exception as error:
            raise InvalidInput(f"log.boards={name}: {' '.join(str(error).split())}", hint=_HINTS[name]) from error
    return boards


class _TensorBoard:
    def __init__(self, run_dir: Path, first_step: int) -> None:
        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first_step + 1)

    def add(self, step: int, figures: Figures) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()


class _WeightsAndBiases:
    """Sends from a process of its own, and keeps what it can't send in the run's folder; `WANDB_MODE=offline` sends nothing."""

    def __init__(self, run_dir: Path, project: str, settings: Mapping[str, Any]) -> None:
        import wandb

        self._run = wandb.init(
            project=project,
            name=run_dir.name,
            id=_board_id(run_dir, "wandb", lambda: uuid.uuid4().hex),
            resume="allow",
            dir=run_dir,
            config=dict(settings),
            settings=wandb.Settings(console="off"),
        )
        # Our own axis: its default one only grows, and a resumed run repeats the steps after its checkpoint.
        self._run.define_metric("*", step_metric="step")

    def add(self, step: int, figures: Figures) -> None:
        self._run.log({"step": step, **figures})

    def close(self, *, failed: bool) -> None:
        self._run.finish(exit_code=int(failed))


@contextmanager
def _impatient_mlflow() -> Iterator[None]:
    """A server that is not there is asked for seconds, not for minutes; during a run MLflow is as patient as it likes."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if name in os.environ:
        yield
        return
    os.environ[name] = "2"
    try:
        yield
    finally:
        del os.environ[name]


class _MLflow:
    """Sends from a thread to the server that `MLFLOW_TRACKING_URI` names."""

    def __init__(self, run_dir: Path, project: str, settings: Mapping[str, Any]) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        with _impatient_mlflow():
            self._id = _board_id(run_dir, "mlflow", lambda: self._created(run_dir, project, settings))
        self._last: Any = None

    def _created(self, run_dir: Path, project: str, settings: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        run: str = self._client.create_run(experiment, run_name=run_dir.name).info.run_id
        self._client.log_batch(run, params=[Param(key, str(value)) for key, value in flattened(settings)])
        return run

    def add(self, step: int, figures: Figures) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, step) for name, value in figures.items()]
        self._last = self._client.log_batch(self._id, metrics=metrics, synchronous=False)

    def close(self, *, failed: bool) -> None:
        from mlflow.exceptions import MlflowException

        try:
            if self._last is not None:
                self._last.wait()
            self._client.set_terminated(self._id, "FAILED" if failed else "FINISHED")
        except (MlflowException, OSError) as error:
            # The figures are in metrics.jsonl too: no reason to end a trained run with an error.
            _log.warning("MLflow lacks some of this run's figures: %s", error)


def _board_id(run_dir: Path, board: BoardName, create: Callable[[], str]) -> str:
    """The id of this run there: that of `boards.json`, else a new one, which is written down."""
    path = run_dir / "boards.json"
    ids: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}
    if board not in ids:
        ids[board] = create()
        with replacing(path) as file:
            file.write_text(json.dumps(ids))
    return ids[board]
