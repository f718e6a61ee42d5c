"""A training step of ours beside one of open_clip's own trainer, and with soft targets beside one without, as Markdown tables.

    make weights bench-training ARGS="--models tiny small --rounds 3"

The same model, images, batch, precision, learning rate, augmentation and number of decoding processes; the programs take
turns, each in a process of its own, and the first steps of each are left out. Soft targets come from a service on this machine,
or from a file of vectors; `--apart` measures what they cost a step where the service has a core of its own. `--curves` compares
the losses of both trainers. The example data are made into a snapshot once, in `~/.cache/nbclip-bench/training`. With `--keep
FILE` the turns of several calls add up. The make target adds packages that open_clip's trainer needs.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from curves import curves
from nbclip_trainer.config.reading import load_config
from programs import MODELS, Model, Timing, time_ours, time_theirs
from scipy import stats
from service import prepared, serving

_CACHE = Path.home() / ".cache" / "nbclip-bench" / "training"
_EXAMPLES = Path(__file__).parents[2] / "examples"
_KNOWLEDGE = ("loss.name=sm", "targets.knowledge=dk_ek", "targets.duplicates=positive")
_APART = ("device.threads=1", "data.workers=0", "data.pictures=memory")
_GROWTH = (64, 128, 256, 512, 1024)
_THEIRS, _PLAIN = "open_clip_train, InfoNCE", "ours, InfoNCE"
_CURVE = 50
Sources = Mapping[str, tuple[str, ...]]
Timings = dict[str, list[Timing]]


def main() -> None:
    arguments = _arguments()
    _CACHE.mkdir(parents=True, exist_ok=True)
    pairs, models = _pairs(), [model for model in MODELS if model.name in arguments.models]
    if arguments.curves:
        _print_curves(models, pairs, arguments.curves)
        return
    vectors = prepared(_CACHE)
    with serving(_CACHE, core=1 if arguments.apart else None) as url:
        service = {_PLAIN: (), "ours, SM, targets of the service": (*_KNOWLEDGE, f"service.url={url}")}
        file = {"ours, SM, vectors of a file": (*_KNOWLEDGE, "targets.mode=snapshot", f"targets.file={vectors}")}
        sources: Sources = {**service, **({} if arguments.apart or arguments.short else file)}
        for model in models:
            timings = _kept(model, arguments)
            _in_turns(model, pairs, sources, timings, arguments)
            print(f"\n{model.name}, {model.batch} pairs a step\n\n{_table(timings)}", flush=True)
        if arguments.growth:
            print(f"\n{MODELS[0].name}, growth with the batch\n\n{_growth(pairs, sources)}")


def _in_turns(model: Model, pairs: Path, sources: Sources, timings: Timings, arguments: argparse.Namespace) -> None:
    settings, prefix = (_APART, ("taskset", "-c", "0")) if arguments.apart else ((), ())
    for number in range(arguments.rounds):
        with _folder() as folder:
            found = {} if arguments.apart else {_THEIRS: time_theirs(model, pairs, folder / "theirs")}
            for place, (name, source) in enumerate(sources.items()):
                found[name] = time_ours(model, pairs, folder / f"ours-{place}", (*settings, *source), prefix)
        for name, timing in found.items():
            timings.setdefault(name, []).append(timing)
        if arguments.keep:
            line = {"model": model.name, "apart": arguments.apart, **{name: asdict(timing) for name, timing in found.items()}}
            with arguments.keep.open("a") as file:
                file.write(json.dumps(line) + "\n")
        print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)


def _kept(model: Model, arguments: argparse.Namespace) -> Timings:
    """The turns of earlier calls."""
    timings: Timings = {}
    lines = arguments.keep.read_text().splitlines() if arguments.keep and arguments.keep.exists() else []
    for line in map(json.loads, lines):
        if (line.pop("model"), line.pop("apart")) == (model.name, arguments.apart):
            for name, timing in line.items():
                timings.setdefault(name, []).append(Timing(**timing))
    return timings


def _table(timings: Timings) -> str:
    """Medians over the rounds; ratios within rounds, by their geometric mean with its 95 % interval."""
    columns = (
        "ms a step",
        "CPU ms",
        "pairs a s",
        "× open_clip_train",
        "÷ ours, InfoNCE",
        "in CPU",
        "waiting for targets",
        "peak MB",
    )
    rows = [f"| | {' | '.join(columns)} |", "| --- |" + " ---: |" * len(columns)]
    for name, each in timings.items():
        wall, cpu = (1000 * statistics.median(values) for values in ([one.wall_s for one in each], [one.cpu_s for one in each]))
        to_theirs = _ratio([one.wall_s for one in timings[_THEIRS]], [one.wall_s for one in each]) if _THEIRS in timings else "–"
        plain = timings[_PLAIN]
        to_plain = _ratio([one.wall_s for one in each], [one.wall_s for one in plain])
        cpu_to_plain = _ratio([one.cpu_s for one in each], [one.cpu_s for one in plain])
        wait, peak = max(one.target_wait for one in each), statistics.median(one.peak_mb for one in each)
        rows.append(
            f"| {name} | {wall:.0f} | {cpu:.0f} | {1000 * each[0].batch / wall:.0f} | {to_theirs} | {to_plain} | {cpu_to_plain} "
            f"| {wait:.2%} | {peak:.0f} |"
        )
    return "\n".join(rows)


def _ratio(values: Sequence[float], others: Sequence[float]) -> str:
    logs = [math.log(value / other) for value, other in zip(values, others, strict=True)]
    mean = statistics.mean(logs)
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}"
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f"{math.exp(mean):.3f} ({math.exp(mean - half):.3f} to {math.exp(mean + half):.3f})"


def _print_curves(models: Sequence[Model], pairs: Path, batch: int) -> None:
    print(f"| {_CURVE} steps of {batch} pairs | loss at first | at last | largest difference |\n| --- | ---: | ---: | ---: |")
    for model in models:
        settings = (
            *model.settings,
            *model.curve,
            f"data.files=[{pairs}]",
            "data.valid_split=null",
            "device.name=cpu",
            f"batch_size={batch}",
        )
        # The preset `small` has another rate for the scale, which open_clip_train can't have.
        config = load_config(model.preset, [*settings, "optim.logit_scale_lr=null"])
        for double in (True, False):
            found = curves(config, _CURVE, double=double)
            for name, losses in list(found.items())[1:]:
                other = "ours" if name == "theirs" else "theirs"
                apart = max(abs(one - two) for one, two in zip(losses, found[other], strict=True))
                beside = f"{model.name}, {'float64' if double else 'float32'}, {name} beside {other}"
                print(f"| {beside} | {losses[0]:.4f} | {losses[-1]:.4f} | {apart:.1e} |", flush=True)


def _growth(pairs: Path, sources: Sources) -> str:
    rows = ["| pairs a step | " + " | ".join(f"{name}, ms" for name in sources) + " |", "| ---: |" + " ---: |" * len(sources)]
    for batch in _GROWTH:
        with _folder() as folder:
            model = MODELS[0].with_batch(batch)
            timings = [time_ours(model, pairs, folder / str(i), settings) for i, settings in enumerate(sources.values())]
        rows.append(f"| {batch} | " + " | ".join(f"{1000 * timing.wall_s:.0f}" for timing in timings) + " |")
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
    parser.add_argument("--keep", type=Path, help="a file that keeps the turns of this call, and adds those of earlier ones")
    parser.add_argument("--short", action="store_true", help="without the targets of a file")
    parser.add_argument("--apart", action="store_true", help="ours alone, training on core 0 and the service on core 1")
    parser.add_argument("--curves", type=int, metavar="BATCH", help="only the loss curves, at this batch size")
    parser.add_argument("--growth", action="store_true", help="ours with batches of 64 to 1,024 too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
