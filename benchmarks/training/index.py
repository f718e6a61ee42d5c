"""From the start of a run to its first step, and the memory of its process, on a table and on its index, as Markdown.

    make bench-index ARGS="--rows 1000000"

Pairs are made up: ids of their own, captions of 4,096 kinds, an image for each split, which is not looked at (`data.check=none`).
Memory is what the process has for itself at its first step (`Anonymous` in smaps_rollup), beside the files that it maps: all of
it, and what is more than in a run on 1,000 rows, which is what the data cost. The most it had before (`VmHWM`) counts mapped
pages as well. With a snapshot (`targets.mode=snapshot`), random vectors of all pairs are in a file: a first run looks all ids
up, a second one none. All is written into a folder that is removed again.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from nbclip.codec import tensor_parts
from PIL import Image

_WORDS = (
    *("chest", "x-ray", "shows", "no", "pleural", "effusion", "of", "the", "left", "lung", "with", "a", "small", "nodule"),
    *("and", "normal", "heart", "axial", "CT", "right", "kidney", "mild", "degenerative", "changes", "lumbar", "spine"),
)
_VALID_EVERY = 100
_TABLE = "pairs.csv"
_SMALL = 1_000
_COLUMNS, _ENTRIES, _DIMENSIONS = 20_000, 4, 32
_LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds to the first step, and the process's own memory then, and its largest so far with what it maps, MB."""

    seconds: float
    own_mb: float
    peak_mb: float


def main() -> None:
    arguments = _arguments()
    with TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        small, _ = _indexed(folder / "small", _SMALL)
        least = _started(small, folder / "on-small").own_mb
        print(f"{arguments.rows:,} rows; a run on {_SMALL:,} has {least:.0f} MB of its own\n")
        print("| data | to the first step, s | own memory, MB | of these for the data | peak with maps, MB |")
        print("| --- | ---: | ---: | ---: | ---: |")
        index, seconds = _indexed(folder / "large", arguments.rows)
        table, vectors = index.with_name(_TABLE), folder / "vectors.safetensors"
        if not arguments.without_files:
            _print("tables", _started(table, folder / "on-files"), least)
        _print("index", _started(index, folder / "on-index"), least)
        _write_vectors(vectors, arguments.rows)
        for time_said in ("first", "second"):
            found = _started(index, folder / f"on-vectors-{time_said}", vectors)
            _print(f"index and snapshot, {time_said} run", found, least)
        size = sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
        print(
            f"\nThe index was made in {seconds:.0f} s; {size / 1e9:.2f} GB, the table {table.stat().st_size / 1e9:.2f} GB, ",
            end="",
        )
        print(f"the vectors {vectors.stat().st_size / 1e9:.2f} GB.")


def _indexed(folder: Path, rows: int) -> tuple[Path, float]:
    """An index of so many pairs, and the seconds that it took."""
    folder.mkdir()
    table = _pairs(folder, rows)
    began = time.perf_counter()
    _nbclip("index", "--preset", "tiny-clip", "--data", table, "--set", "data.check=none", "--out", folder / "index")
    return folder / "index", time.perf_counter() - began


def _write_vectors(path: Path, rows: int) -> None:
    """What `kg-service snapshot embeddings` writes, of random vectors: a few concepts an image, and a dense part."""
    chance = np.random.default_rng(0)
    text = "".join(f"image-{row:08}" for row in range(rows)).encode()
    indices = np.sort(chance.integers(0, _COLUMNS, (rows, _ENTRIES), np.int32))
    tensors = {
        "sparse_indptr": np.arange(0, rows * _ENTRIES + 1, _ENTRIES, dtype=np.int64),
        "sparse_indices": indices.reshape(-1),
        "sparse_data": np.full(rows * _ENTRIES, (2 * _ENTRIES) ** -0.5, np.float32),
        "dense": chance.standard_normal((rows, _DIMENSIONS), np.float32) * (2 * _DIMENSIONS) ** -0.5,
        "id_bytes": np.frombuffer(text, np.uint8),
        "id_offsets": np.arange(rows + 1, dtype=np.int64) * (len(text) // rows),
    }
    metadata = {"snapshot": "0" * 64, "knowledge": "dk_ek", "representation": "hybrid", "columns": str(_COLUMNS)}
    with path.open("wb") as file:
        file.writelines(tensor_parts(tensors, metadata))


def _pairs(folder: Path, rows: int) -> Path:
    chance = random.Random(0)
    captions = [" ".join(chance.choices(_WORDS, k=chance.randint(6, 20))) for _ in range(4_096)]
    for split in ("train", "valid"):
        Image.new("L", (64, 64), 128).save(folder / f"{split}.png")
    table = folder / _TABLE
    with table.open("w") as file:
        file.write("image_id,file,caption,split\n")
        for row in range(rows):
            split = "train" if row % _VALID_EVERY else "valid"
            file.write(f"image-{row:08},{split}.png,{captions[row * 2_654_435_761 % 4_096]},{split}\n")
    return table


def _started(data: Path, run: Path, vectors: Path | None = None) -> Start:
    """A run until its first step is in the log; it is ended then."""
    settings = ["data.check=none", "data.pictures=disk", "data.workers=1", "log.every=1", "device.name=cpu", "device.threads=1"]
    if vectors is not None:
        # The snapshot is of all images, those of the validation split too.
        settings += ["loss.name=sm", "targets.knowledge=dk_ek", "targets.mode=snapshot", f"targets.file={vectors}"]
        settings += ["data.allow_leaks=true"]
    command = _command(
        "train", "--preset", "tiny-clip", "--data", data, "--run", run, *(part for each in settings for part in ("--set", each))
    )
    began = time.perf_counter()
    with (run.parent / f"{run.name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            metrics = run / "metrics.jsonl"
            while not (metrics.is_file() and metrics.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit((run.parent / f"{run.name}.log").read_text()[-2000:])
                time.sleep(_LOOK_EVERY)
            seconds = time.perf_counter() - began
            return Start(
                seconds, _kb(process.pid, "smaps_rollup", "Anonymous:") / 1000, _kb(process.pid, "status", "VmHWM:") / 1000
            )
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _kb(pid: int, file: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _print(name: str, start: Start, least_mb: float) -> None:
    print(
        f"| {name} | {start.seconds:.1f} | {start.own_mb:.0f} | {start.own_mb - least_mb:.0f} | {start.peak_mb:.0f} |", flush=True
    )


def _nbclip(*arguments: str | Path) -> None:
    subprocess.run(_command(*arguments), check=True, stdout=subprocess.DEVNULL)


def _command(*arguments: str | Path) -> Sequence[str]:
    return [sys.executable, "-m", "nbclip_trainer", *map(str, arguments)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="how many pairs")
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder of temporary files")
    parser.add_argument("--without-files", action="store_true", help="measure the index alone")
    return parser.parse_args()


if __name__ == "__main__":
    main()
