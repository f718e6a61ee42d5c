"""How fast a run was, by its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Speed:
    """Means over some steps; None for what their records lack.

    Attributes:
        samples_per_second: pairs of all processes.
        data_wait: share of the time in which rank 0 waited for images, [0, 1].
        target_wait: the same for targets.
        tflops: 10¹² floating-point operations a second of a process.
        mfu: their share of the device's peak, [0, 1].
        peak_memory_gb: the most that a process has held, 10⁹ bytes.
    """

    samples_per_second: float
    data_wait: float
    target_wait: float
    tflops: float | None
    mfu: float | None
    peak_memory_gb: float | None

    def __str__(self) -> str:
        waits = f"waited {self.data_wait:.0%} for images, {self.target_wait:.0%} for targets"
        return ", ".join(filter(None, (f"{self.samples_per_second:.0f} samples/s", waits, self.operations, self.memory)))

    @property
    def operations(self) -> str:
        """Operations a second, and their share of the peak where that is known."""
        if self.tflops is None:
            return ""
        rate = f"{self.tflops:.4g} TFLOP/s" if self.tflops >= 1 else f"{1000 * self.tflops:.4g} GFLOP/s"
        return rate + ("" if self.mfu is None else f" (MFU {self.mfu:.0%})")

    @property
    def memory(self) -> str:
        """Peak memory."""
        return "" if self.peak_memory_gb is None else f"{self.peak_memory_gb:.1f} GB"


def speed_of(records: Iterable[Mapping[str, Any]]) -> Speed | None:
    """The speed of the steps that have records; a run's first step, with its cold caches, counts only if it is alone."""
    steps = [record for record in records if record.get("seconds")]
    steps = [record for record in steps if record.get("step") != 1] or steps
    if not steps:
        return None
    seconds = sum(record["seconds"] for record in steps)

    def mean(name: str) -> float | None:
        if any(record.get(name) is None for record in steps):
            return None
        return float(sum(record[name] * record["seconds"] for record in steps) / seconds)

    memory = [record["peak_memory_gb"] for record in steps if record.get("peak_memory_gb") is not None]
    return Speed(
        samples_per_second=mean("samples_per_second") or 0.0,
        data_wait=sum(record.get("data_wait", 0.0) for record in steps) / seconds,
        target_wait=sum(record.get("target_wait", 0.0) for record in steps) / seconds,
        tflops=mean("tflops"),
        mfu=mean("mfu"),
        peak_memory_gb=max(memory, default=None),
    )
