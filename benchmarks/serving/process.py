"""What a serving process costs before and beside its answers: time to the first one, and memory that a second process shares."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from wire import MATRIX, service

_SNAPSHOT_FILES = "/snapshots/"


def start_seconds(data: Path, ids: Sequence[str]) -> dict[str, float]:
    """Seconds by the clock from the start of `kg-service serve` until it listens, and until the first answer, and the process's
    CPU seconds by then; least of three, of which the first finds the bytecode of modules and the kernels to be kept or not."""
    runs = [_start(data, ids) for _ in range(3)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def _start(data: Path, ids: Sequence[str]) -> dict[str, float]:
    begun = time.perf_counter()
    with service(data, "--port", "0") as (connection, process):
        listens = time.perf_counter() - begun
        connection.request("POST", "/targets", json.dumps({"image_ids": list(ids), "output": "similarity"}), MATRIX)
        connection.getresponse().read()
        answered = time.perf_counter() - begun
        return {"listens after": listens, "first answer after": answered, "CPU until the first answer": _cpu_s(process)}


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def memory_megabytes(data: Path, ids: Sequence[str], processes: int) -> dict[str, float]:
    """MB of so many processes, added up, that have each answered; and of them the snapshot's pages.

    RSS counts a page once for each process that has it, PSS shares it out among them: among this one too, which has the same
    libraries, and the snapshot.
    """
    body = json.dumps({"image_ids": list(ids), "output": "similarity"})
    with ExitStack() as stack:
        running = [
            stack.enter_context(service(data, "--uds", str(data / f"process-{number}.sock"))) for number in range(processes)
        ]
        for connection, _ in running:
            connection.request("POST", "/targets", body, MATRIX)
            connection.getresponse().read()
        whole = [_rollup(process) for _, process in running]
        mapped = [_snapshot_pages(process) for _, process in running]
    found = {f"all, {kind}": sum(each[kind.title()] for each in whole) for kind in ("RSS", "PSS")}
    return found | {f"of that the snapshot, {kind}": sum(each[kind.title()] for each in mapped) for kind in ("RSS", "PSS")}


def _snapshot_pages(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """RSS and PSS of mappings of snapshot files, MB."""
    found, inside = {"Rss": 0.0, "Pss": 0.0}, False
    for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if "-" in name and not name.endswith(":"):
            inside = bool(rest) and _SNAPSHOT_FILES in rest[-1]
        elif inside and name[:-1] in found:
            found[name[:-1]] += int(rest[0]) / 1_000
    return found


def _rollup(process: subprocess.Popen[bytes]) -> dict[str, float]:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) / 1_000 for line in lines if line.endswith("kB")}
