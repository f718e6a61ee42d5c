"""A run's figures: as JSON lines in its folder, and on boards."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from nbclip_trainer.runs.boards import open_boards
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.runs.settings import LogSettings

Kind = Literal["train", "diagnostics", "valid", "alarm"]


class Tracker:
    """Writes records; owns the files. Records after `first_step`, of a run that was cut off, are dropped."""

    def __init__(self, run_dir: Path, log: LogSettings, settings: Mapping[str, Any], first_step: int = 0) -> None:
        path = run_dir / "metrics.jsonl"
        with replacing(path) as kept:
            lines = (json.dumps(record) for record in read_metrics(run_dir) if record["step"] <= first_step)
            kept.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._boards = open_boards(run_dir, log, settings, first_step)
        self._file = path.open("a", encoding="utf-8")

    def log(self, kind: Kind, step: int, figures: Mapping[str, float | int | str]) -> None:
        """Adds a record of what held after `step` optimizer steps."""
        # NaN and infinity are no JSON: a figure that has no value is null.
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in figures.items()
        }
        self._file.write(json.dumps({"kind": kind, "step": step, **finite}) + "\n")
        self._file.flush()
        numbers = {f"{kind}/{name}": value for name, value in finite.items() if isinstance(value, int | float)}
        for board in self._boards:
            board.add(step, numbers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        for board in self._boards:
            board.close(failed=kind is not None)


def read_metrics(run_dir: Path) -> Iterator[dict[str, Any]]:
    """The records of a run, in order; a last line that was cut off is left out."""
    path = run_dir / "metrics.jsonl"
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
