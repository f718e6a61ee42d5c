"""A training step of ours beside one of open_clip's own trainer, and with soft targets beside one without, as Markdown tables.

    make bench-training ARGS="--rounds 3"

The same model, images, batch, precision, learning rate, augmentation and number of decoding processes; the programs take
turns, each in a process of its own, and the first steps of each are left out. Soft targets come from a service on this machine,
or from a file of vectors. The example data are made into a snapshot once, in `~/.cache/nbclip-bench/training`. The make target
adds packages that open_clip's trainer needs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from programs import MODELS, Model, Timing, time_ours, time_theirs
from service import prepared, serving

_CACHE = Path.home() / ".cache" / "nbclip-bench" / "training"
_EXAMPLES = Path(__file__).parents[2] / "examples"
_KNOWLEDGE = ("loss.name=sm", "targets.knowledge=dk_ek", "targets.duplicates=positive")
_GROWTH = (64, 128, 256, 512, 1024)
Sources = Mapping[str, tuple[str, ...]]


def main() -> None:
    arguments = _arguments()
    _CACHE.mkdir(parents=True, exist_ok=True)
    pairs = _pairs()
    vectors = prepared(_CACHE)
    with serving(_CACHE) as url:
        sources: Sources = {
            "ours, InfoNCE": (),
            "ours, SM, targets of the service": (*_KNOWLEDGE, f"service.url={url}"),
            "ours, SM, vectors of a file": (*_KNOWLEDGE, "targets.mode=snapshot", f"targets.file={vectors}"),
        }
        for model in (model for model in MODELS if model.name in arguments.models):
            print(
                f"\n{model.name}, {model.batch} pairs a step\n\n{_table(_in_turns(model, pairs, sources, arguments.rounds))}",
                flush=True,
            )
        if arguments.growth:
            print(f"\n{MODELS[0].name}, growth with the batch\n\n{_growth(pairs, sources)}")


def _in_turns(model: Model, pairs: Path, sources: Sources, rounds: int) -> dict[str, list[Timing]]:
    timings: dict[str, list[Timing]] = {"open_clip_train, InfoNCE": [], **{name: [] for name in sources}}
    for number in range(rounds):
        with _folder() as folder:
            timings["open_clip_train, InfoNCE"].append(time_theirs(model, pairs, folder / "theirs"))
            for place, (name, settings) in enumerate(sources.items()):
                timings[name].append(time_ours(model, pairs, folder / f"ours-{place}", settings))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return timings


def _table(timings: Mapping[str, Sequence[Timing]]) -> str:
    """Medians over all steps of all rounds; ratios to open_clip's trainer, and to ours without knowledge."""
    median = {name: statistics.median(step for timing in each for step in timing.steps) for name, each in timings.items()}
    theirs, plain = list(median.values())[:2]
    rows = [
        "| | ms a step | pairs a s | × open_clip_train | ÷ ours, InfoNCE | waiting for targets | peak MB |",
        "| --- |" + " ---: |" * 6,
    ]
    for name, each in timings.items():
        wait = max(timing.target_wait for timing in each)
        rows.append(
            f"| {name} | {1000 * median[name]:.0f} | {each[0].batch / median[name]:.0f} | {theirs / median[name]:.2f} "
            f"| {median[name] / plain:.3f} | {wait:.2%} | {max(timing.peak_mb for timing in each):.0f} |"
        )
    return "\n".join(rows)


def _growth(pairs: Path, sources: Sources) -> str:
    rows = ["| pairs a step | " + " | ".join(f"{name}, ms" for name in sources) + " |", "| ---: |" + " ---: |" * len(sources)]
    for batch in _GROWTH:
        with _folder() as folder:
            model = MODELS[0].with_batch(batch)
            timings = [time_ours(model, pairs, folder / str(i), settings) for i, settings in enumerate(sources.values())]
        rows.append(f"| {batch} | " + " | ".join(f"{1000 * statistics.median(timing.steps):.0f}" for timing in timings) + " |")
    return "\n".join(rows)


def _pairs() -> Path:
    """The examples' training pairs as one table with absolute paths, which both trainers read."""
    path = _CACHE / "pairs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image_id", "file", "caption", "split"])
        for folder in ("radiology-open", "rocov2"):
            with (_EXAMPLES / folder / "metadata.csv").open(encoding="utf-8", newline="") as source:
                rows = (row for row in csv.DictReader(source) if row["split"] == "train")
                table.writerows([row["image_id"], str(_EXAMPLES / folder / row["file"]), row["caption"], "train"] for row in rows)
    return path


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns that each program has")
    parser.add_argument("--models", nargs="+", choices=[model.name for model in MODELS], default=[model.name for model in MODELS])
    parser.add_argument("--growth", action="store_true", help="ours with batches of 64 to 1,024 too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
