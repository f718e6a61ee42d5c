"""What a run shows on the terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Display:
    """A progress bar on a terminal, a line an epoch elsewhere; owns the bar."""

    def __init__(self, console: Console, steps: int, first_step: int) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  {task.fields[rate]:.0f} samples/s"),
            TextColumn("wait data {task.fields[data]:.0f} ms, targets {task.fields[targets]:.0f} ms"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(
            "train", total=steps, completed=first_step, epoch=0, loss=float("nan"), rate=0.0, data=0.0, targets=0.0
        )

    def step(self, done: int, epoch: int, figures: dict[str, float]) -> None:
        """Shows a step: `done` steps so far, in the `epoch`-th epoch."""
        self._bar.update(
            self._task,
            completed=done,
            epoch=epoch,
            loss=figures["loss"],
            rate=figures["samples_per_second"],
            data=1000 * figures["data_wait"],
            targets=1000 * figures["target_wait"],
        )

    def line(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()
