"""Two ranks that train with a snapshot of many images: against two replicas behind a proxy, and against the snapshot's vectors in
a file, as Markdown.

    make bench-ranks                                   # 10,000,000 images: 20 minutes, 26 GB on disk
    make bench-ranks ARGS="--images 100000"

The snapshot is that of `make bench-growth`, made if it is missing. The pairs that are trained on are made up, and have ids of
images in it. Own memory is the largest of a rank after its first steps, beside the files that it maps.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[2] / "tests"))

import numpy as np
from growth import folder_of, published
from kg_service.snapshot import Snapshot
from PIL import Image
from support.replicas import Proxy
from support.service import Service
from support.tcp import free_port

_PAIRS, _SIDE, _EPOCHS, _WARM = 2_048, 64, 4, 10
_LOOK_EVERY_S = 0.05


def main() -> None:
    arguments = _arguments()
    snapshot = published(arguments.images)
    with TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        table, vectors = _pairs(folder, snapshot), folder / "vectors.safetensors"
        print(f"{arguments.images:,} images; {_EPOCHS} epochs of {_PAIRS:,} pairs, two ranks\n")
        print("| targets from | step, s | wait for targets, share of a step | own memory of a rank, MB |")
        print("| --- | ---: | ---: | ---: |")
        with _replicas(folder_of(arguments.images)) as url:
            services = _trained(table, folder / "services", [f"service.url={url}", "targets.mode=matrix"], "two replicas")
        _export(folder_of(arguments.images), vectors)
        files = _trained(table, folder / "files", ["targets.mode=snapshot", f"targets.file={vectors}"], "the snapshot's vectors")
    apart = max(abs(one - other) for one, other in zip(services, files, strict=True))
    print(
        f"\nThe loss is {services[0]:.4f} at the first step, {services[-1]:.4f} at the last; they differ by {apart:.1e} at most."
    )


def _pairs(folder: Path, snapshot: Snapshot) -> Path:
    """A table of pictures of noise, and captions of a few words."""
    chance = np.random.default_rng(0)
    rows = chance.choice(len(snapshot), _PAIRS, replace=False)
    words = ["chest", "x-ray", "effusion", "left", "lung", "axial", "CT", "kidney", "spine", "normal"]
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_id", "file", "caption", "split"))
        for number, row in enumerate(rows.tolist()):
            picture = Image.fromarray(chance.integers(0, 256, (_SIDE, _SIDE), np.uint8))
            picture.save(folder / f"{number}.jpg")
            caption = " ".join(chance.choice(words, 6))
            writer.writerow((snapshot.image_id(row), f"{number}.jpg", caption, "valid" if number % 16 == 0 else "train"))
    return folder / "pairs.csv"


@contextmanager
def _replicas(data: Path) -> Iterator[str]:
    """The address of two services that only read, behind HAProxy."""
    with ExitStack() as stack, TemporaryDirectory() as name:
        services = [Service(data, {"KG_READ_ONLY": "true"}, port=free_port()) for _ in range(2)]
        for service in services:
            stack.callback(service.close)
        yield stack.enter_context(Proxy(Path(name), services)).url


def _export(data: Path, vectors: Path) -> None:
    command = ["snapshot", "embeddings", str(vectors), "--knowledge", "dk_ek", "--data", str(data)]
    subprocess.run([sys.executable, "-m", "kg_service", *command], check=True)


def _trained(table: Path, run: Path, settings: Sequence[str], name: str) -> list[float]:
    """Trains, prints a line of the table, and returns the losses."""
    settings = [*settings, f"epochs={_EPOCHS}", "log.every=1", "device.name=cpu", "device.threads=1", "data.allow_leaks=true"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nbclip_trainer"]
    command += ["train", "--preset", "tiny-nbclip", "--data", str(table), "-r", str(run)]
    with run.with_suffix(".log").open("w") as log:
        process = subprocess.Popen([*command, *(part for each in settings for part in ("--set", each))], stdout=log, stderr=log)
        own_mb = _largest_own_mb(process, run / "metrics.jsonl")
    if process.returncode:
        raise SystemExit(run.with_suffix(".log").read_text()[-3000:])
    steps = [each for each in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "target_wait" in each]
    seconds = mean(step["seconds"] for step in steps[_WARM:])
    share = mean(step["target_wait"] for step in steps[_WARM:]) / seconds
    print(f"| {name} | {seconds:.2f} | {share:.2%} | {own_mb:.0f} |", flush=True)
    return [step["loss"] for step in steps]


def _largest_own_mb(launcher: subprocess.Popen[bytes], metrics: Path) -> float:
    """That of any rank from its first steps on, until all have ended."""
    largest = 0.0
    while launcher.poll() is None:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= _WARM:
            largest = max([largest, *map(_own_mb, _children(launcher.pid))])
        time.sleep(_LOOK_EVERY_S)
    return largest


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def _own_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon:")), 0.0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where to write; default: the system's folder of temporary files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
