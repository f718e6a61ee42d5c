"""`/targets` beside its peers, on one synthetic graph in one run, as Markdown tables, and the goals that they meet.

    make bench                                                # with --report: into docs/performance.md
    make bench-serving ARGS="--images 20000 --without-neo4j"

The arithmetic is timed in CPU time of one thread, what crosses a socket by the clock; each figure is the least of several runs,
so that other work on the machine counts little. The Neo4j server has the Graph Data Science library where Java and Maven are at
hand; else it is one that is started as for the tests. 100,000 images take 10 to 15 minutes, most of them Cypher's.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stores"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

import numpy as np
from appending import append_seconds, segment_seconds
from cypher import NEO4J_SIZES, neo4j_seconds
from goals import APPENDED, CYPHER, KERNEL, MEMORY, START, WIRE, goal_lines
from kernels import kernel_seconds, look_seconds
from kg_service.app.logging import configure_logging
from kg_service.graph import open_store
from kg_service.snapshot import Snapshot, SnapshotFolder
from kg_service.snapshot.publication import publish
from page import table_lines, write_between
from process import memory_megabytes, start_seconds
from synthetic import batches
from threadpoolctl import threadpool_limits
from wire import FORMS, ZEROS, wire_seconds

NEW_IMAGES = 10_000
PROCESSES = (1, 4)
CACHE = Path.home() / ".cache" / "nbclip-bench" / "serving"
VOCABULARY = {"release": "synthetic", "sha256": "0" * 64}


def main() -> None:
    arguments = _arguments()
    configure_logging("console", logging.WARNING)
    threadpool_limits(1)
    data = CACHE / str(arguments.images)
    snapshot = snapshot_of(data, arguments.images)
    load = os.getloadavg()[0]
    print(f"{snapshot.manifest.images} images, {snapshot.manifest.concepts} concepts, hybrid/dk_ek\n")
    figures: dict[str, dict[int, dict[str, float]]] = {}
    lines: list[str] = []
    for key, title, columns in _tables(arguments, data, snapshot):
        figures[key] = columns
        lines += [*table_lines(title, _shares(columns) if key == WIRE else columns), ""]
        print("\n".join([*table_lines(title, _shares(columns) if key == WIRE else columns), ""]), flush=True)
        if arguments.report:
            _report(snapshot, load, list(goal_lines(figures)), lines)
    print("\n".join(goal_lines(figures)))


def _report(snapshot: Snapshot, load: float, goals: Sequence[str], lines: Sequence[str]) -> None:
    """What there is so far: the peers on Neo4j come last, and take longest."""
    header = f"{datetime.now(UTC):%Y-%m-%d}, {snapshot.manifest.images:,} images, {snapshot.manifest.concepts:,} concepts, "
    header += f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after, of which this run is 1 to 2."
    write_between("serving", "\n".join([header, "", *goals, "", *lines]))


def _tables(
    arguments: argparse.Namespace, data: Path, snapshot: Snapshot
) -> Iterator[tuple[str, str, dict[int, dict[str, float]]]]:
    """Name, title and figures of each table, in the order of the page."""
    generator = np.random.default_rng(0)
    images, sizes = arguments.images, arguments.sizes
    rows = {size: generator.choice(images, size, replace=False) for size in sizes}
    yield KERNEL, "S of a square batch, CPU ms", {size: kernel_seconds(snapshot, rows[size]) for size in sizes}
    yield "look", "One image against all of them, CPU ms", {images: look_seconds(snapshot, rows[sizes[0]])}
    appended = {NEW_IMAGES: append_seconds(data / "graph.sqlite", snapshot, NEW_IMAGES)}
    yield APPENDED, f"{NEW_IMAGES:,} new captions on {images:,}, CPU ms", appended
    segments = {size: segment_seconds(snapshot, rows[size], NEW_IMAGES) for size in sizes}
    yield "segments", "S of a square batch with appended images, CPU ms", segments
    if arguments.without_service:
        return
    ids = {size: [snapshot.image_id(int(row)) for row in rows[size]] for size in sizes}
    yield WIRE, "One answer, ms by the clock", {size: wire_seconds(data, snapshot, ids[size]) for size in ids}
    smallest = ids[min(ids)]
    yield START, "A process, from its start, ms", {len(smallest): start_seconds(data, smallest)}
    memory = {count: memory_megabytes(data, smallest, count) for count in PROCESSES}
    thousandths = {count: {name: megabytes / 1_000 for name, megabytes in of.items()} for count, of in memory.items()}
    yield MEMORY, "Memory of N processes on one snapshot, MB", thousandths
    if not arguments.without_neo4j:
        store = open_store(str(data / "graph.sqlite"))
        server = neo4j_seconds(store, {size: _ids(snapshot, size) for size in NEO4J_SIZES})
        for size in NEO4J_SIZES:
            server[size]["/targets"] = wire_seconds(data, snapshot, _ids(snapshot, size))["TCP, float32"]
        yield CYPHER, "All pairs of a batch on Neo4j, and `/targets` over TCP, ms by the clock", server


def _shares(columns: dict[int, dict[str, float]]) -> dict[int, dict[str, float]]:
    """With each form's time as a multiple of the same arithmetic in process; ÷ 1,000, as the table shows milliseconds."""
    return {
        size: seconds
        | {f"{form} ÷ in process": seconds[form] / seconds[f"in process, {form.split(', ')[1]}"] / 1_000 for form in FORMS}
        | {f"{way}, float32 ÷ (in process + zeros)": _beyond_zeros(seconds, way) for way in ("TCP", "unix socket")}
        for size, seconds in columns.items()
    }


def _beyond_zeros(seconds: dict[str, float], way: str) -> float:
    return seconds[f"{way}, float32"] / (seconds["in process, float32"] + seconds[f"{way}, {ZEROS}"]) / 1_000


def _ids(snapshot: Snapshot, size: int) -> list[str]:
    return [snapshot.image_id(row) for row in range(size)]


def snapshot_of(data: Path, images: int) -> Snapshot:
    """Made once, and again where the code makes another one."""
    folder = SnapshotFolder(data / "snapshots")
    store = open_store(str(data / "graph.sqlite"))
    if store.counts().images < images:
        for batch in batches(images, 5_000):
            store.write(batch)
    publish(store, folder.path, vocabulary=VOCABULARY)
    store.close()
    return folder.open()


def _sizes(text: str) -> Sequence[int]:
    return [int(size) for size in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--sizes", type=_sizes, default=[256, 1024, 4096], metavar="N,N")
    parser.add_argument("--without-neo4j", action="store_true")
    parser.add_argument("--without-service", action="store_true", help="the arithmetic alone")
    parser.add_argument("--report", action="store_true", help="write the tables into docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
