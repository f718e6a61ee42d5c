"""A program's steps as seen from outside: time, CPU of its whole family of processes, memory. Linux only."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 0.02
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and CPU seconds of a step, with all that a program does between steps; the largest memory of its first process."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def watched(command: Sequence[str], folder: Path, log: Path, step: re.Pattern[str], first: int, last: int) -> Cost:
    """Runs a program to its end, and measures from the `first` to the `last` line that it logs of a step."""
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    seen = [_when(process.pid, log, step, steps) for steps in (first, last)]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or None in seen:
        raise SystemExit(f"{command[:3]} ended with {process.returncode}:\n{(folder / 'output').read_text()[-3000:]}")
    (begun, begun_cpu), (ended, ended_cpu) = (one for one in seen if one)
    steps = last - first
    return Cost((ended - begun) / steps, (ended_cpu - begun_cpu) / steps, usage.ru_maxrss / 1000)


def _when(pid: int, log: Path, step: re.Pattern[str], steps: int) -> tuple[float, float] | None:
    """Time and the family's CPU seconds when so many steps are logged; None where the program ends before."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        if log.exists() and len(step.findall(log.read_text())) >= steps:
            return time.monotonic(), sum(map(_cpu_s, _family(pid)))
        time.sleep(_TICK_S)
    return None


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [each for child in task.read_text().split() for each in _family(int(child))]
    return found


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK
