"""A running service as the kernel sees it: memory, processor, descriptors, threads, and those of the processes it started."""

from __future__ import annotations

import os
import time
from pathlib import Path

from judge import Process

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Watch:
    """Samples a process and its children; CPU is that since the sample before."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._at = time.monotonic()
        self._cpu_s = {process: _cpu_s(process)}

    def sample(self) -> Process:
        """How it is now.

        Raises:
            FileNotFoundError, ProcessLookupError: it has ended.
        """
        now, family = time.monotonic(), [self._process, *children(self._process)]
        status, rollup = _sizes_mb(self._process, "status"), _sizes_mb(self._process, "smaps_rollup")
        cpu_s = {each: _or(0.0, _cpu_s, each) for each in family}
        share = {each: 100 * (cpu_s[each] - self._cpu_s.get(each, 0.0)) / (now - self._at) for each in family}
        self._at, self._cpu_s = now, cpu_s
        own, *others = family
        return Process(
            rss=status["VmRSS"],
            anonymous=status["RssAnon"] + status["RssShmem"],
            files=status["RssFile"],
            pss=rollup["Pss"],
            cpu=share[own],
            descriptors=len(list(Path(f"/proc/{own}/fd").iterdir())),
            threads=len(list(Path(f"/proc/{own}/task").iterdir())),
            children_rss=sum(_or({}, _sizes_mb, each, "status").get("VmRSS", 0.0) for each in others),
            children_cpu=sum(share[each] for each in others),
        )


def children(process: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, _or("", Path.read_text, task).split()):
            found += [child, *children(child)]
    return found


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _sizes_mb(process: int, name: str) -> dict[str, float]:
    lines = (line.split() for line in Path(f"/proc/{process}/{name}").read_text().splitlines() if line.endswith("kB"))
    return {words[0].rstrip(":"): int(words[1]) / 1_000 for words in lines}


def _or(otherwise, ask, *arguments):  # type: ignore[no-untyped-def]
    """What is asked of a child, which may end at any moment."""
    try:
        return ask(*arguments)
    except (FileNotFoundError, ProcessLookupError):
        return otherwise
