"""How the costs of serving grow with the images of a snapshot: a table and a plot in docs/performance.md.

    make bench-growth                                    # 10,000, 100,000 and 1,000,000 images: 10 to 20 minutes, 4 GB on disk
    make bench-growth ARGS="--images 1000,10000"

Times are CPU times of one thread.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from appending import in_memory_seconds, read_new_seconds
from kernels import least_seconds
from kg_service.app.logging import configure_logging
from kg_service.graph import open_store
from kg_service.similarity.kernel import similarity
from kg_service.snapshot import Snapshot
from kg_service.snapshot.publication import publish
from page import PAGE, shown, write_between
from process import memory_megabytes, start_seconds
from run import CACHE, VOCABULARY, snapshot_of
from threadpoolctl import threadpool_limits

_BATCH = 1_024
_NEW_IMAGES = 1_000
_PLOT = PAGE.parent / "performance" / "serving.svg"


def main() -> None:
    arguments = _arguments()
    configure_logging("console", logging.WARNING)
    threadpool_limits(1)
    load = os.getloadavg()[0]
    figures = {images: _measured(images) for images in arguments.images}
    lines = [f"| | {' | '.join(f'{images:,} images' for images in figures)} |", f"| --- |{' ---: |' * len(figures)}"]
    names = next(iter(figures.values()))
    lines += [f"| {what} | {' | '.join(shown(of[what]) for of in figures.values())} |" for what in names]
    print("\n".join(lines))
    if arguments.report:
        _plot(figures, _PLOT)
        loads = f"load {load:.1f} before and {os.getloadavg()[0]:.1f} after, of which this run is 1 to 2"
        header = f"{datetime.now(UTC):%Y-%m-%d}, {loads}."
        write_between("growth", "\n".join([header, "", *lines]))


def _measured(images: int) -> dict[str, float]:
    data = CACHE / str(images)
    graph = data / "graph.sqlite"
    snapshot = snapshot_of(data, images)
    rows = np.random.default_rng(0).choice(images, _BATCH, replace=False)
    ids = [snapshot.image_id(int(row)) for row in rows[:256]]
    vectors = snapshot.vectors("hybrid", "dk_ek")
    one, four = (memory_megabytes(data, ids, count) for count in (1, 4))
    return {
        f"S of {_BATCH:,} × {_BATCH:,}, CPU ms": 1e3 * least_seconds(lambda: similarity(vectors, rows, rows)),
        f"{_NEW_IMAGES:,} captions appended in memory, CPU ms": 1e3 * in_memory_seconds(snapshot, _NEW_IMAGES),
        f"{_NEW_IMAGES:,} captions read from the graph, CPU ms": 1e3 * read_new_seconds(graph, snapshot, _NEW_IMAGES),
        "published, CPU s": _publish_seconds(data, snapshot),
        "started, to the first answer, CPU s": start_seconds(data, ids)["CPU until the first answer"],
        "snapshot on disk, MB": sum(file.bytes for file in snapshot.manifest.files) / 1e6,
        "one process, MB (RSS)": one["all, RSS"],
        "each of three further ones, MB (PSS)": (four["all, PSS"] - one["all, PSS"]) / 3,
    }


def _publish_seconds(data: Path, snapshot: Snapshot) -> float:
    """CPU seconds from the graph store to a snapshot on disk, which is the one that is there."""
    folder = Path(tempfile.mkdtemp(dir=data))
    try:
        with closing(open_store(str(data / "graph.sqlite"))) as store:
            begun = time.process_time()
            if publish(store, folder, vocabulary=VOCABULARY) != snapshot.id:
                raise SystemExit("publishing the same graph gave another snapshot")
            return time.process_time() - begun
    finally:
        shutil.rmtree(folder)


def _plot(figures: Mapping[int, Mapping[str, float]], path: Path) -> None:
    """Each cost over images, as a multiple of its first value, beside linear growth, as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "nbclip", "svg.fonttype": "none", "font.size": 8}
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
    images = list(figures)
    for what, first in figures[images[0]].items():
        axis.loglog(images, [of[what] / first for of in figures.values()], "o-", label=what.rsplit(", ", 1)[0], lw=1, ms=3)
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
    parser.add_argument("--images", type=_sizes, default=[10_000, 100_000, 1_000_000], metavar="N,N")
    parser.add_argument("--report", action="store_true", help="write table and plot into docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
