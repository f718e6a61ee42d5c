"""Compiles a synthetic release of UMLS size, and says what that takes beside floors of the same run: `make bench-vocabulary`.

    make bench-vocabulary ARGS="--scales .01 .1"             quick
    make bench-vocabulary ARGS="--report"                    all scales, into docs/performance.md's plot

A release is written first (3.3 GB at scale 1, removed afterwards), then compiled by `kg-service vocabulary build`, whose two
parts, the vocabulary and the linker's index of names, are told apart. What comes out is compared with what the release was
written with. Its files are in the page cache. CPU seconds stand beside the time, which other work on the machine delays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from watch import Cost, run

_HERE = Path(__file__).parent
_DOCS = _HERE.parents[1] / "docs"
_SCALES = (0.01, 0.1, 1.0)
_STEMS = ("MRCONSO", "MRREL", "MRSTY")
_OPEN = """
import json, sys, time
from pathlib import Path
from kg_service.vocabulary.vocabulary import open_vocabulary
start = time.perf_counter()
vocabulary = open_vocabulary(Path(sys.argv[1]))
opened = time.perf_counter()
vocabulary.preferred_name("C0000001" if "C0000001" in vocabulary else next(iter(vocabulary)))
vocabulary.ancestors(vocabulary.cui(len(vocabulary) // 2))
looked_up = time.perf_counter()
found = vocabulary.search("lung dis")
print(json.dumps([opened - start, looked_up - start, time.perf_counter() - looked_up]))
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one release took.

    Attributes:
        written: what `release.Written` holds of it, and `cpu_s`.
        costs: by what was done.
        size_mb: of the vocabulary, and of the index of names.
        open_s: opening the vocabulary in a new process, with a first name and its ancestors, and a search after that.
    """

    written: dict[str, float]
    costs: dict[str, Cost]
    size_mb: tuple[float, float]
    open_s: tuple[float, float, float]


def main() -> None:
    arguments = _arguments()
    figures: dict[float, Figures] = {}
    for scale in arguments.scales:
        with _folder(arguments.folder, arguments.keep) as folder:
            figures[scale] = _measure(folder, scale, with_index=not arguments.vocabulary_only)
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        print(f"\n## scale {scale:g}: {_described(figures[scale].written)}; {load}\n")
        _print_table(("", "time", "CPU", "peak memory", "of it the process's own"), _rows(figures[scale]))
        print(_after(figures[scale]), flush=True)
    if arguments.report:
        from plot import plot_growth

        plot_growth(_DOCS / "performance" / "vocabulary.svg", {scale: each.costs for scale, each in figures.items()})


@contextmanager
def _folder(parent: Path | None, keep: bool) -> Iterator[Path]:
    """A new folder, removed in the end unless it is to be kept."""
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix="rrf-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def _measure(folder: Path, scale: float, *, with_index: bool) -> Figures:
    rrf, vocabulary = folder / "META", folder / "data" / "vocabulary"
    made = subprocess.run([sys.executable, _HERE / "release.py", rrf, "--scale", str(scale)], check=True, stdout=subprocess.PIPE)
    written = json.loads(made.stdout)
    files = [rrf / f"{stem}.RRF" for stem in _STEMS]
    costs = {
        "`cat` of the three files": run(["cat", *files])[0],
        "`wc -l`": run(["wc", "-l", *files])[0],
        "`sha256sum`": run(["sha256sum", *files])[0],
        "pyarrow: the columns parsed": run([sys.executable, _HERE / "floors.py", "pyarrow", rrf])[0],
        "polars: filtered, distinct, in memory": run([sys.executable, _HERE / "floors.py", "polars", rrf])[0],
    }
    build = [sys.executable, "-m", "kg_service", "vocabulary", "build", rrf, "--vocabulary", vocabulary]
    # The vocabulary appears in its place when it is whole; the index of names is made after that.
    costs["**vocabulary**"], index = run(build, until=(vocabulary / "manifest.json").is_file, stop=not with_index)
    costs |= {"index of names": index} if with_index else {}
    _check(json.loads((vocabulary / "manifest.json").read_text(encoding="utf-8"))["counts"], written)
    opened = subprocess.run([sys.executable, "-c", _OPEN, vocabulary], check=True, stdout=subprocess.PIPE)
    sizes = _size_mb(vocabulary), _size_mb(vocabulary.with_name("vocabulary.names")) if with_index else 0.0
    return Figures(written, costs, sizes, tuple(json.loads(opened.stdout)))


def _check(counts: dict[str, int], written: dict[str, float]) -> None:
    found = counts["concepts"], counts["names"], counts["is_a"] + counts["cut_edges"], counts["bad_rows"]
    expected = written["kept_concepts"], written["kept_names"], written["kept_edges"], 0
    if found != expected:
        sys.exit(f"concepts, names, is_a edges and bad rows are {found}, and should be {expected}")


def _size_mb(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.iterdir()) / 2**20


def _described(written: dict[str, float]) -> str:
    rows = ", ".join(
        f"{written[what]:,} {what.replace('_', ' ')}" for what in ("concepts", "atoms", "relations", "semantic_types")
    )
    return f"{rows}; {written['size'] / 2**30:.2f} GB, written in {written['cpu_s']:.0f} CPU s"


def _rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    for what, cost in figures.costs.items():
        yield what, f"{cost.wall_s:.1f} s", f"{cost.cpu_s:.1f} s", f"{cost.peak_mb:.0f} MB", f"{cost.own_mb:.0f} MB"


def _after(figures: Figures) -> str:
    opened, looked_up, searched = (f"{1_000 * seconds:.0f} ms" for seconds in figures.open_s)
    kept = ", ".join(f"{figures.written[f'kept_{what}']:,} {what}" for what in ("concepts", "names", "edges"))
    index = f", the index of names {figures.size_mb[1]:.0f} MB more" if figures.size_mb[1] else ""
    return (
        f"\n{kept}. On disk {figures.size_mb[0]:.0f} MB{index}. "
        f"Opened in {opened}, with the first look-ups in {looked_up}; the first search took {searched} more."
    )


def _print_table(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    for row in (header, ("---", *["---:"] * (len(header) - 1)), *rows):
        print(f"| {' | '.join(row)} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=float, nargs="+", default=_SCALES)
    parser.add_argument("--folder", type=Path, help="where releases are written; default: the system's temporary folder")
    parser.add_argument("--vocabulary-only", action="store_true", help="stop before the index of names, which takes much longer")
    parser.add_argument("--keep", action="store_true", help="leave releases and vocabularies there")
    parser.add_argument("--report", action="store_true", help="draw docs/performance/vocabulary.svg")
    return parser.parse_args()


if __name__ == "__main__":
    main()
