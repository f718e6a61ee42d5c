"""How the costs of publishing and serving grow with the images of a snapshot: a table and a plot in docs/performance.md.

    make bench-growth                                    # 10,000 to 10,000,000 images: half an hour, 17 GB on disk
    make bench-growth ARGS="--images 10000,20000"

Times are CPU times of one thread. Snapshots are published from linked shards of a batch, as `kg-service batch publish` does.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "vocabulary"))
sys.path.append(str(Path(__file__).parents[1] / "stores"))

import numpy as np
import watch
from appending import in_memory_seconds, read_new_seconds
from kernels import least_seconds
from kg_service.app.logging import configure_logging
from kg_service.similarity.kernel import similarity
from kg_service.snapshot import Snapshot, SnapshotFolder
from kg_service.snapshot.publication import publish
from page import PAGE, shown, write_between
from process import memory_megabytes, start_seconds
from run import CACHE, VOCABULARY, snapshot_of
from shards import linked
from threadpoolctl import threadpool_limits

_BATCH = 1_024
_NEW_IMAGES = 1_000
_STORED_UP_TO = 100_000
_PLOT = PAGE.parent / "performance" / "serving.svg"


def main() -> None:
    arguments = _arguments()
    configure_logging("console", logging.WARNING)
    threadpool_limits(1)
    if arguments.publish:
        _publish(arguments.publish, arguments.images[0])
        return
    load = os.getloadavg()[0]
    figures = {images: _measured(images) for images in arguments.images}
    lines = [f"| | {' | '.join(f'{images:,} images' for images in figures)} |", f"| --- |{' ---: |' * len(figures)}"]
    names = next(iter(figures.values()))
    lines += [f"| {what} | {' | '.join(shown(of[what]) if what in of else '' for of in figures.values())} |" for what in names]
    print("\n".join(lines))
    if arguments.report:
        _plot(figures, _PLOT)
        loads = f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after, of which this run is 1 to 2"
        header = f"{datetime.now(UTC):%Y-%m-%d}, {loads}."
        write_between("growth", "\n".join([header, "", *lines]))


def folder_of(images: int) -> Path:
    """The data folder of a snapshot of so many images, and its shards."""
    return CACHE / "growth" / str(images)


def published(images: int) -> Snapshot:
    """The snapshot of so many images, made if it is missing."""
    data = folder_of(images)
    if SnapshotFolder(data / "snapshots").current() is None:
        _publish(data, images)
    return SnapshotFolder(data / "snapshots").open()


def _measured(images: int) -> dict[str, float]:
    data = folder_of(images)
    linked(data / "shards", images)
    shutil.rmtree(data / "snapshots", ignore_errors=True)
    starting, _ = watch.run([sys.executable, __file__, "--publish", str(data), "--images", "1"])
    cost, _ = watch.run([sys.executable, __file__, "--publish", str(data), "--images", str(images)])
    snapshot = SnapshotFolder(data / "snapshots").open()
    rows = np.random.default_rng(0).choice(images, _BATCH, replace=False)
    ids = [snapshot.image_id(int(row)) for row in rows[:256]]
    vectors = snapshot.vectors("hybrid", "dk_ek")
    one, four = (memory_megabytes(data, ids, count) for count in (1, 4))
    return {
        "published, CPU s": cost.cpu_s - starting.cpu_s,
        "published, own memory beside maps, MB": cost.own_mb,
        "snapshot on disk, MB": sum(file.bytes for file in snapshot.manifest.files) / 1e6,
        f"S of {_BATCH:,} × {_BATCH:,}, CPU ms": 1e3 * least_seconds(lambda: similarity(vectors, rows, rows)),
        f"{_NEW_IMAGES:,} captions appended in memory, CPU ms": 1e3 * in_memory_seconds(snapshot, _NEW_IMAGES),
        **_from_the_store(images),
        "started, to the first answer, CPU s": start_seconds(data, ids)["CPU until the first answer"],
        "one process, MB (RSS)": one["all, RSS"],
        "each of three further ones, MB (PSS)": (four["all, PSS"] - one["all, PSS"]) / 3,
    }


def _publish(data: Path, images: int) -> None:
    """What the watched process does; of one image it is what every process has at its start."""
    folder = data / ("snapshots" if images > 1 else "start")
    publish(linked(data / ("shards" if images > 1 else "one"), images), folder, vocabulary=VOCABULARY)


def _from_the_store(images: int) -> dict[str, float]:
    """What is new read from a graph store, where filling one takes minutes at most."""
    if images > _STORED_UP_TO:
        return {}
    data = CACHE / str(images)
    seconds = read_new_seconds(data / "graph.sqlite", snapshot_of(data, images), _NEW_IMAGES)
    return {f"{_NEW_IMAGES:,} captions read from the graph, CPU ms": 1e3 * seconds}


def _plot(figures: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Each cost over images, as a multiple of its first value, beside linear growth, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "nbclip", "svg.fonttype": "none", "font.size": 8}
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    images = list(figures)
    for what, first in figures[images[0]].items():
        held = [count for count in images if what in figures[count]]
        values = [figures[count][what] / first for count in held]
        axis.loglog(held, values, "o-", label=what.rsplit(", ", 1)[0], lw=1, ms=3)
    axis.loglog(images, [count / images[0] for count in images], "k:", lw=1, label="linear")
    axis.set(xlabel="images", ylabel=f"times the value at {images[0]:,} images")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _sizes(text: str) -> Sequence[int]:
    return [int(size) for size in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=_sizes, default=[10_000, 100_000, 1_000_000, 10_000_000], metavar="N,N")
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help="write table and plot into docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
