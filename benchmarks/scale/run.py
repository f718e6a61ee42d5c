"""What a million captions cost, from files to snapshot and graph, as Markdown: through a batch, and through `ingest`.

    make bench-scale                                   # 100,000 captions: about four minutes, 0.8 GB on disk
    make bench-scale ARGS="--captions 1000000"
    make bench-scale ARGS="--captions 1000000 --ray --batch-only"    # one process beside a Ray cluster of two here, in turn

Captions are those of the example data, again and again under new ids and with a number in each, so that no two are equal.
CPU seconds are those of the command with all its processes, Ray's among them, read five times a second: what a process does after
its last reading is not in them. RSS is the largest of any process that the command itself waits for, mapped files included.
Both ways must give one snapshot id.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Self

import psutil

EXAMPLES = Path(__file__).parents[2] / "examples"
_MILLION = 1_000_000
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2): processes whose parent has ended become this one's."""
_TO_MB = 1e-3 if sys.platform == "linux" else 1e-6


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a command: CPU seconds, seconds by the clock, the largest RSS of a process in MB, and what it printed."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    printed: str


def main() -> None:
    arguments = _arguments()
    count, load = arguments.captions, os.getloadavg()[0]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    with TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        captions, work = folder / "captions.csv", folder / "work"
        _write(captions, count)
        _run(folder / "batch", "vocabulary", "build", EXAMPLES / "vocabulary", "--vocabulary", folder / "vocabulary")
        costs = {
            "batch plan": _run(folder / "batch", "batch", "plan", captions, work),
            "batch run": _run(folder / "batch", "batch", "run", work, "--workers", arguments.workers),
            **(_on_ray(folder, captions, work) if arguments.ray else {}),
            "batch publish": _run(folder / "batch", "batch", "publish", work),
            "batch export neo4j-admin": _run(folder / "batch", "batch", "export", "neo4j-admin", work, folder / "import"),
            "batch copy": _run(folder / "batch", "batch", "copy", work, folder / "copy.sqlite"),
        }
        disk = sum(path.stat().st_size for path in work.rglob("*") if path.is_file()) / count
        if not arguments.batch_only:
            costs["ingest"] = _run(folder / "ingest", "ingest", captions)
            costs["snapshot publish"] = _run(folder / "ingest", "snapshot", "publish")
            if costs["snapshot publish"].printed != costs["batch publish"].printed:
                raise SystemExit("the two ways gave different snapshots")
    _show(costs, count, arguments.workers)
    print(f"\n{disk:,.0f} bytes a caption in the batch's folder; load {load:.1f} before, {os.getloadavg()[0]:.1f} after")


def _on_ray(folder: Path, captions: Path, linked: Path) -> dict[str, Cost]:
    """The same captions linked by one process, and by a Ray cluster of two."""
    ways = {"one process": ("--workers", 1), "Ray, two processes": ("--ray", "local", "--workers", 2)}
    costs = {}
    for number, (name, options) in enumerate(ways.items()):
        work = folder / f"work-{number}"
        _run(folder / "batch", "batch", "plan", captions, work)
        costs[f"batch run, {name}"] = _run(folder / "batch", "batch", "run", work, *options)
        if _tables(work) != _tables(linked):
            raise SystemExit(f"{name} gave other tables")
    one, two = costs.values()
    print(
        f"Ray ÷ one process: {two.cpu_s / one.cpu_s:.2f} of the CPU time, {one.wall_s / two.wall_s:.2f} × as fast by the clock\n"
    )
    return costs


def _tables(work: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (work / "linked").glob("*.parquet")}


def _show(costs: Mapping[str, Cost], count: int, workers: int) -> None:
    print(f"{count:,} captions, {workers} processes for linking\n")
    print("| | CPU s a million | peak RSS of a process, MB |\n| --- | ---: | ---: |")
    for what, cost in costs.items():
        print(f"| `{what}` | {cost.cpu_s * _MILLION / count:,.0f} | {cost.peak_mb:,.0f} |")


def _write(path: Path, count: int) -> None:
    with (EXAMPLES / "radiology-open" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["caption"] for row in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_id", "caption"))
        for number, text in enumerate(islice(cycle(texts), count)):
            # Ids in no order, as files have them.
            writer.writerow((f"{hash((number, 0)) & 0xFFFFFF:06x}-{number}", f"{text} ({number})"))


def _run(data: Path, *words: object) -> Cost:
    command = [sys.executable, "-m", "kg_service", *map(str, words)]
    settings = {"KG_DATA": str(data), "KG_VOCABULARY": str(data.parent / "vocabulary")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KG_")} | settings
    begun = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process, _Watch() as watch:
        printed = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.monotonic() - begun
        _wait_for_strays()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    print(f"{' '.join(map(str, words[:2]))}: {wall_s:.0f} s", file=sys.stderr)
    return Cost(watch.cpu_s, wall_s, used.ru_maxrss * _TO_MB, printed)


class _Watch(Thread):
    """Reads what the descendants of this process have used. Ray's node lets its workers go unwaited, so that no `wait` tells."""

    def __init__(self) -> None:
        super().__init__()
        self._used: dict[psutil.Process, float] = {}
        self._is_over = Event()

    def run(self) -> None:
        while not self._is_over.wait(0.2):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._used[process] = times.user + times.system

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all processes that were seen."""
        return sum(self._used.values())


def _wait_for_strays() -> None:
    """Waits for processes that the command left to this one (`main`), such as Ray's."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="also link by one process and by a Ray cluster of two (extra ray)")
    parser.add_argument("--batch-only", action="store_true", help="leave out `ingest` and what it gives")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder for temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
