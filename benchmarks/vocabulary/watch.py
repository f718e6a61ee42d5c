"""What a process takes, seen from outside: time, CPU of all its threads, memory. Linux only."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 0.02
_CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of time and of CPU, and peak memory in MB: what is resident, and what of it is the process's own, not of files."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    own_mb: float


def run(command: Sequence[str | Path], until: Callable[[], bool] = lambda: False, *, stop: bool = False) -> tuple[Cost, Cost]:
    """Runs a command to its end; returns what it took until `until` was true for the first time, and after that.

    With `stop` it is stopped there.

    Raises:
        CalledProcessError: it failed.
    """
    before, start = _ended_cpu_s(), time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        first = _peaks(status, lambda: process.poll() is not None or until())
        middle, first_cpu_s, last = time.monotonic(), _cpu_s(process.pid), (0.0, 0.0)
        if stop:
            process.terminate()
        elif process.poll() is None:
            # Begins the peak anew: it is the second part's.
            status.with_name("clear_refs").write_text("5", encoding="ascii")
            last = _peaks(status, lambda: process.poll() is not None)
    if process.returncode and not (stop and process.returncode == -signal.SIGTERM):
        raise subprocess.CalledProcessError(process.returncode, command)
    end, cpu_s = time.monotonic(), _ended_cpu_s() - before
    first_cpu_s = cpu_s if first_cpu_s is None else first_cpu_s
    return Cost(middle - start, first_cpu_s, *first), Cost(end - middle, cpu_s - first_cpu_s, *last)


def _peaks(status: Path, over: Callable[[], bool]) -> tuple[float, float]:
    """Peak of resident and of own memory in MB until it is over."""
    peak = own = 0.0
    while not over():
        try:
            memory = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
            peak = max(peak, int(memory["VmHWM"].split()[0]) / 1024)
            own = max(own, int(memory["RssAnon"].split()[0]) / 1024)
        except (OSError, KeyError):
            # It is ending; what was seen before stands.
            continue
        time.sleep(_TICK_S)
    return peak, own


def _ended_cpu_s() -> float:
    """CPU seconds of all children that have ended, with all their threads."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu_s(pid: int) -> float | None:
    """CPU seconds of a process that still runs, with all its threads; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return sum(map(int, fields[11:13])) / _CLOCK
