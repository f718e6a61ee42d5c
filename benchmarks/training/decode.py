"""JPEG files to training batches at 224 px: ours, as it was, with `data.draft`, from a cache, and open_clip_train's.

    make bench-decode ARGS="--sides 512 1024 2048"
    make bench-decode ARGS="--workers 0"      # in one process, by its CPU time: for a machine that other programs use

The images are those of the examples, enlarged, with the grain that enlarging lacks, as JPEGs of quality 90; three in four of them
are grey. All ways have the same random crop and the same number of processes, and take turns. open_clip_train's own way is its
dataset of a CSV, with its loader's settings. Also told: how far the pixels are from those of whole images that Pillow resizes.
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
_THEIRS, _BEFORE = "open_clip_train's way", "ours, data.resize=pillow"


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    rate = "images a second" if arguments.workers else "images a CPU second"
    print(f"| side of the files | way | {rate} | × {_THEIRS} | × {_BEFORE} |\n| ---: | --- | ---: | ---: | ---: |")
    for side in arguments.sides:
        with TemporaryDirectory() as name:
            table = _images(Path(name), side, arguments.images)
            ways = {_THEIRS: _theirs(table, arguments.workers), **_ours(table, arguments.workers)}
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(arguments.rounds):
                for way, batches in ways.items():
                    rates[way].append(_rate(batches, time.perf_counter if arguments.workers else time.process_time))
            median = {way: statistics.median(each) for way, each in rates.items()}
            for way, own in median.items():
                print(f"| {side} | {way} | {own:.0f} | {own / median[_THEIRS]:.2f} | {own / median[_BEFORE]:.2f} |", flush=True)
            _print_differences(table)


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
        _BEFORE: ("data.resize=pillow",),
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


def _rate(batches: Callable[[], Iterator[Tensor]], clock: Callable[[], float]) -> float:
    """Images a second after the first batch, before which processes start."""
    found = batches()
    next(found)
    started, count = clock(), 0
    for images in found:
        count += len(images)
    return count / (clock() - started)


def _print_differences(table: Path) -> None:
    """How far grey levels are from those of whole images that Pillow resizes, in the model's input without augmentation."""
    wanted = _plain(table, "data.resize=pillow")
    for way, settings in {"ours": (), "drafts": ("data.draft=true",)}.items():
        levels = (wanted - _plain(table, *settings)).abs() * torch.tensor(_INPUT.std)[:, None, None] * 255
        mean, most = levels.mean(), levels.max()
        print(f"| | {way}: {mean:.3f} grey levels apart, {np.quantile(levels, 0.99):.1f} at 99 %, {most:.0f} at most | | | |")


def _plain(table: Path, *settings: str) -> Tensor:
    config = load_config("paper", ["data.check=none", *settings])
    return next(
        load_images(read_dataset([table]), _INPUT, config.data, config.augmentation, 0).images.plain([range(_BATCH)])
    ).pixels


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048], help="longer sides of the files")
    parser.add_argument("--images", type=int, default=96, help="how many files")
    parser.add_argument("--workers", type=int, default=2, help="processes that decode; 0: none, and CPU time is told")
    parser.add_argument("--rounds", type=int, default=3, help="turns that each way has")
    return parser.parse_args()


if __name__ == "__main__":
    main()
