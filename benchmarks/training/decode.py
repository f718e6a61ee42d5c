"""JPEG files to training batches at 224 px: ours, ours with `data.draft` and from a cache, and open_clip_train's own way.

    make bench-decode ARGS="--sides 512 1024 2048"

The images are those of the examples, enlarged, with the grain that enlarging lacks, as JPEGs of quality 90; three in four of them
are grey. All ways have the same random crop and the same number of processes, and take turns. open_clip_train's own way is its
dataset of a CSV, with its loader's settings. Also told: how far a draft's pixels are from those of the whole image.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.data.dataset import read_dataset
from nbclip_trainer.data.loading import load_images
from nbclip_trainer.data.planner import BatchPlan
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

_EXAMPLES = Path(__file__).parents[2] / "examples"
_INPUT = PreprocessCfg(size=224)
_BATCH = 16
_TURNS = 4
"""How often each file is in an epoch."""
_THEIRS = "open_clip_train's way"


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    print("| side of the files | " + " | ".join(("way", "images a s", f"× {_THEIRS}")) + " |\n| ---: | --- | ---: | ---: |")
    for side in arguments.sides:
        with TemporaryDirectory() as name:
            table = _images(Path(name), side, arguments.images)
            ways = {_THEIRS: _theirs(table, arguments.workers), **_ours(table, arguments.workers)}
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(arguments.rounds):
                for way, batches in ways.items():
                    rates[way].append(_rate(batches))
            theirs = statistics.median(rates[_THEIRS])
            for way, each in rates.items():
                median = statistics.median(each)
                print(f"| {side} | {way} | {median:.0f} | {median / theirs:.2f} |", flush=True)
            _print_difference(table)


def _images(folder: Path, side: int, count: int) -> Path:
    """Writes them and their table."""
    generator = np.random.default_rng(0)
    files = sorted((_EXAMPLES / "rocov2").rglob("*.jpg"))[:count]
    for number, file in enumerate(files):
        image = Image.open(file)
        large = image.convert("L" if number % 4 else "RGB").resize((side, side * 4 // 5), Image.Resampling.BICUBIC)
        pixels = np.asarray(large) + generator.normal(0, 3, np.shape(large))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    table = folder / "pairs.csv"
    rows = "".join(f"{turn}-{number},{number}.jpg,an image\n" for turn in range(_TURNS) for number in range(len(files)))
    table.write_text("image_id,file,caption\n" + rows)
    return table


def _ours(table: Path, workers: int) -> dict[str, Callable[[], Iterator[Tensor]]]:
    dataset = read_dataset([table])
    plan = BatchPlan(len(dataset), _BATCH, 1, 0)
    ways = {
        "ours": (),
        "ours, data.draft": ("data.draft=true",),
        "ours, from a cache": ("data.pictures=cache", f"data.cache={table.parent / 'cache'}"),
    }

    def batches(settings: tuple[str, ...]) -> Callable[[], Iterator[Tensor]]:
        config = load_config("paper", ["data.check=none", f"data.workers={workers}", *settings])
        images = load_images(dataset, _INPUT, config.data, config.augmentation, 0).images
        return lambda: (decoded.pixels for decoded in images.training(plan.batches()))

    return {way: batches(settings) for way, settings in ways.items()}


def _theirs(table: Path, workers: int) -> Callable[[], Iterator[Tensor]]:
    from open_clip_train.data import CsvDataset

    transform = image_transform_v2(_INPUT, is_train=True)
    absolute = table.with_name("absolute.csv")
    lines = table.read_text().splitlines()
    absolute.write_text("\n".join([lines[0], *(line.replace(",", f",{table.parent}/", 1) for line in lines[1:])]))
    dataset = CsvDataset(str(absolute), transform, "file", "caption", ",", tokenizer=lambda texts: torch.zeros(len(texts), 77))

    def batches() -> Iterator[Tensor]:
        loader = DataLoader(dataset, _BATCH, shuffle=True, num_workers=workers, pin_memory=False, drop_last=True)
        return (images for images, _ in loader)

    return batches


def _rate(batches: Callable[[], Iterator[Tensor]]) -> float:
    """Images a second after the first batch, before which processes start."""
    found = batches()
    next(found)
    started, count = time.perf_counter(), 0
    for images in found:
        count += len(images)
    return count / (time.perf_counter() - started)


def _print_difference(table: Path) -> None:
    """How far the grey levels of drafts are from those of whole images, in the model's input without augmentation."""
    whole, draft = (
        next(load_images(read_dataset([table]), _INPUT, config.data, config.augmentation, 0).images.plain([range(_BATCH)])).pixels
        for config in (load_config("paper", ["data.check=none", f"data.draft={draft}"]) for draft in (False, True))
    )
    levels = (whole - draft).abs() * torch.tensor(_INPUT.std)[:, None, None] * 255
    print(f"| | a draft's grey levels differ by {levels.mean():.2f} on average, {np.quantile(levels, 0.99):.1f} at 99 % | | |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048], help="longer sides of the files")
    parser.add_argument("--images", type=int, default=96, help="how many files")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each way has")
    return parser.parse_args()


if __name__ == "__main__":
    main()
