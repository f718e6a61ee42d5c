"""A run's figures, as JSON lines and for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch.utils.tensorboard.writer import SummaryWriter

from nbclip_trainer.durable import replacing

Kind = Literal["train", "diagnostics", "valid", "alarm"]


class Tracker:
    """Writes records; owns the files. Records after `first_step`, of a run that was cut off, are dropped."""

    def __init__(self, run_dir: Path, first_step: int = 0) -> None:
        path = run_dir / "metrics.jsonl"
        with replacing(path) as kept:
            lines = (json.dumps(record) for record in read_metrics(run_dir) if record["step"] <= first_step)
            kept.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first_step + 1)

    def log(self, kind: Kind, step: int, figures: Mapping[str, float | int | str]) -> None:
        """Adds a record of what held after `step` optimizer steps."""
        # NaN is no JSON: a figure that has no value is null.
        finite = {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in figures.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, **finite}) + "\n")
        self._file.flush()
        for name, value in finite.items():
            if isinstance(value, int | float):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._board.close()


def read_metrics(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The records of a run, in order; a last line that was cut off is left out."""
    path = run_dir / "metrics.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
