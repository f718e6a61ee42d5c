"""Small sets of images, and runs on them."""

import csv
from itertools import chain, repeat

import numpy as np
import pytest
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.runs.results import ScoringProtocol
from nbclip_trainer.training.loop import train
from PIL import Image
from support.knowledge_service import service  # noqa: F401 - a fixture

WORDS = ("head", "chest", "knee", "spine")


@pytest.fixture
def write_pairs(tmp_path):
    """Writes pictures and their CSV; picture and caption tell the class, which is the id's last digit modulo 4."""

    def write(name="pairs.csv", train=24, valid=8, size=40, **columns):
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        generator = np.random.default_rng(0)
        rows = []
        for number, split in enumerate(chain(repeat("train", train), repeat("valid", valid))):
            kind = number % 10 % 4
            pixels = generator.integers(0, 60, (size, size, 3), dtype=np.uint8)
            pixels[(kind // 2) * size // 2 :][: size // 2, (kind % 2) * size // 2 :][:, : size // 2] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
            caption = f"picture {number} of the {WORDS[kind]}"
            rows.append({"image_id": f"id{number}", "file": f"{number}.png", "caption": caption, "split": split, **columns})
        path = folder / name
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def small(write_pairs):
    """Overrides that make `nbclip-tiny` presets train in milliseconds on `write_pairs`."""

    def overrides(*more, data=None):
        return [
            "model.architecture.embed_dim=16",
            "model.architecture.vision_cfg.image_size=32",
            "model.architecture.vision_cfg.width=8",
            "model.architecture.text_cfg={context_length: 16, width: 16, heads: 2, layers: 1}",
            "batch_size=8",
            "epochs=2",
            "device.threads=1",
            "device.name=cpu",
            f"data.files=['{data or write_pairs()}']",
            *more,
        ]

    return overrides


HEADER = (
    "image_id", "file", "caption", "caption_source", "modality", "organ", "modality_organ",
    "split", "source", "licence", "group", "cuis",
)  # fmt: skip
MODALITIES, ORGANS = ("CT", "MR", "XR"), ("head", "chest")


@pytest.fixture(scope="session")
def metadata(tmp_path_factory):
    """108 random pictures: 48 train, 12 valid, 48 retrieval in cases of two, CUIs on every other case."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(108):
            split = "train" if number < 48 else "valid" if number < 60 else "retrieval"
            case = number // 2
            modality, organ = MODALITIES[case % 3], ORGANS[case // 3 % 2]
            level = 40 + 60 * (case % 3)
            pixels = generator.integers(level, level + 80, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            writer.writerow([
                f"picture-{number:03d}", f"{number}.png", f"{modality} of the {organ}, case {case}",
                "real" if case % 4 else "template", modality, organ, f"{modality}-{organ}", split, "somewhere", "CC0 1.0",
                f"case-{case}", f"C000000{case % 3} C000001{case // 3 % 2}" if case % 2 else "",
            ])  # fmt: skip
    return folder / "metadata.csv"


def tiny(metadata, **settings):
    architecture = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 1},
    }
    return TrainConfig(
        **{
            "epochs": 2,
            "batch_size": 16,
            "model": {"name": "tiny", "architecture": architecture},
            "data": {"files": [metadata], "pictures": "memory", "workers": 0},
            "augmentation": {"kind": "none"},
            "log": {"every": 1, "diagnostics_every": 1},
            "device": {"name": "cpu", "threads": 1},
            **settings,
        }
    )


PROTOCOL = ScoringProtocol(class_ks=(1, 5), cui_ks=(1, 5), minimum_class_size=4, resamples=200)


@pytest.fixture(scope="session")
def runs(metadata, tmp_path_factory):
    """Two trained and evaluated runs: one-hot targets, and noise."""
    folder = tmp_path_factory.mktemp("runs")
    noise = {"targets": {"knowledge": "noise", "noise": "per_image"}, "loss": {"name": "sm"}}
    for name, settings in {"clip": {}, "noise-twin": noise}.items():
        train(tiny(metadata, **settings), folder / name)
        evaluate_run(folder / name, protocol=PROTOCOL)
    return [folder / "clip", folder / "noise-twin"]
