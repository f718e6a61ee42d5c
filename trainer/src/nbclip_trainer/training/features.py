"""Features of locked towers, computed once and kept in a folder, so that the projections alone are trained.

FOLDER/KEY/image.f32             float32, of each view a row of each image; view 0 is the images themselves
FOLDER/KEY/text.f32              float32, a row of each caption
FOLDER/KEY/found.json            their shapes, and what a look at the images found; an entry without it is none

The key is a digest of all that the features follow from: the towers' weights, how images are prepared, captions and image files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from nbclip.errors import BrokenArtefact, InvalidInput
from torch import Tensor

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.features import FeaturesOfImages
from nbclip_trainer.models.building import ModelParts
from nbclip_trainer.models.captions import Cut, refuse_other_tokens
from nbclip_trainer.models.heads import image_below_projection, text_below_projection
from nbclip_trainer.models.stages import SCALARS, towers_of
from nbclip_trainer.parallel.collectives import from_all, from_first
from nbclip_trainer.parallel.world import World, autocast, tower_dtype
from nbclip_trainer.runs.durable import in_turn, replacing
from nbclip_trainer.training.sight import Seen, look

_log = logging.getLogger(__name__)
_BATCH = 128
_TOLD_EVERY_S = 15
_KINDS = ("image", "text")
_Shapes = dict[str, list[int]]


def cached(dataset: Dataset, parts: ModelParts, config: TrainConfig, folder: Path, world: World, views: int = 0) -> Seen:
    """A split as the towers see it, from the folder or, where it is not there yet, computed into it by all ranks.

    `views` is how many there are of each image besides itself.

    Raises:
        InvalidInput: the folder can't be written to, or the dataset is an index for another tokenizer.
        BrokenArtefact: an entry is damaged.
    """
    refuse_other_tokens(dataset, parts.tokenizer)
    key = from_first(_key(dataset, parts, config, world, views) if world.leads else "", world)
    entry, scratch = folder / key, folder / f".{key}"
    with _turn(folder, key) if world.leads else nullcontext():
        if not from_first((entry / "found.json").is_file(), world):
            if world.leads:
                # What a killed run has left.
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
            from_first(None, world)
            _compute(dataset, parts, config, scratch, world, views)
            if world.leads:
                scratch.rename(entry)
            from_first(None, world)
    return _opened(entry, len(dataset), views, config.seed)


@contextmanager
def _turn(folder: Path, key: str) -> Iterator[None]:
    """Waits while another run computes the same features."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{key}.lock").touch()
    except OSError as error:
        raise InvalidInput(f"data.features={str(folder)!r}: {error.strerror}", hint="name a folder to write to") from error
    with in_turn(folder / f".{key}.lock"):
        yield


def _compute(dataset: Dataset, parts: ModelParts, config: TrainConfig, scratch: Path, world: World, views: int) -> None:
    """Each rank computes its share of the rows, and writes it in its place."""
    if world.leads:
        _log.warning("computing the features of %d pairs once, into %s", len(dataset), scratch.parent)
    seen = look(dataset, parts, config)
    own = np.array_split(np.arange(len(dataset)), world.ranks)[world.rank]
    good = [row for row in own.tolist() if row not in seen.bad]
    batches = [good[start : start + _BATCH] for start in range(0, len(good), _BATCH)]
    bad, shapes = dict(seen.bad), _Shapes()
    progress = _Progress((1 + views) * len(good)) if world.leads else None
    for view, decoded in ((number, decoded) for number in range(1 + views) for decoded in seen.images.view(number, batches)):
        bad |= decoded.bad
        if progress:
            progress.add(len(decoded.rows) + len(decoded.bad))
        if not decoded.rows:
            continue
        with _towers(parts, config, world):
            images = decoded.pixels.to(world.device, memory_format=torch.channels_last)
            features = image_below_projection(parts.model, images)
            shapes["image"] = _write(scratch, "image", view * len(dataset), decoded.rows, features)
            if view == 0:
                features = text_below_projection(parts.model, seen.texts[decoded.rows].long().to(world.device))
                shapes["text"] = _write(scratch, "text", 0, decoded.rows, features)
    found = from_all((bad, shapes), world)
    if world.leads:
        shapes = next((shapes for _, shapes in found if shapes), {})
        rows = {"image": (1 + views) * len(dataset), "text": len(dataset)}
        _finish(scratch, rows, shapes, {row: why for bad, _ in found for row, why in bad.items()}, seen)


class _Progress:
    """Says now and then how many images are done, and how long the others take at the rate so far."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._started = self._told = time.monotonic()

    def add(self, images: int) -> None:
        self._done += images
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            left_s = (now - self._started) / self._done * (self._total - self._done)
            _log.warning("features: %d of %d images and views, %.0f s left", self._done, self._total, left_s)


@contextmanager
def _towers(parts: ModelParts, config: TrainConfig, world: World) -> Iterator[None]:
    """The towers as in validation."""
    parts.model.eval()
    with autocast(world, config.device):
        yield


def _write(scratch: Path, kind: str, first: int, rows: list[int], features: Tensor) -> list[int]:
    """Writes the features of rows, in a file where row 0 is at `first`, and says of what shape they are."""
    descriptor = os.open(_file(scratch, kind), os.O_WRONLY | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        for row, values in zip(rows, features.float().cpu().contiguous().numpy(), strict=True):
            file.seek((first + row) * values.nbytes)
            file.write(values.tobytes())
    return list(features.shape[1:])


def _finish(scratch: Path, rows: Mapping[str, int], shapes: _Shapes, bad: Mapping[int, str], seen: Seen) -> None:
    for kind, shape in shapes.items():
        with _file(scratch, kind).open("r+b") as file:
            # Rows of bad images at the end were not written.
            file.truncate(4 * rows[kind] * int(np.prod(shape)))
            os.fsync(file.fileno())
    found = {"shapes": shapes, "bad": bad, "frames": seen.frames, "cut": asdict(seen.cut)}
    with replacing(scratch / "found.json") as path:
        path.write_text(json.dumps(found), encoding="utf-8")


def _opened(entry: Path, rows: int, views: int, seed: int) -> Seen:
    try:
        found = json.loads((entry / "found.json").read_text(encoding="utf-8"))
        image = _mapped(entry, "image", (1 + views, rows, *found["shapes"]["image"]))
        text = _mapped(entry, "text", (rows, *found["shapes"]["text"]))
        by_row = {name: {int(row): value for row, value in found[name].items()} for name in ("bad", "frames")}
        return Seen(FeaturesOfImages(image, seed), text, by_row["bad"], by_row["frames"], Cut(**found["cut"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{entry}: damaged: {error}", hint="remove this folder, and it is computed again") from error


def _mapped(entry: Path, kind: str, shape: tuple[int, ...]) -> Tensor:
    # Copy on write, since torch warns of memory that it may not write to.
    return torch.from_numpy(np.memmap(_file(entry, kind), np.float32, "c", shape=shape))


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.f32"


def _key(dataset: Dataset, parts: ModelParts, config: TrainConfig, world: World, views: int) -> str:
    """SHA-256, hexadecimal."""
    given = {
        "format": 2,
        "version": version("nbclip-trainer"),
        "model": config.model.reading(),
        "preprocess": asdict(parts.preprocess),
        "precision": str(tower_dtype(world, config.device)),
        "images": [config.data.pictures, config.data.max_pixels, config.data.draft, config.data.resize],
        "pairs": [dataset.digest(), dataset.images_digest()],
        "views": [views, config.augmentation.model_dump(mode="json", exclude={"views"}) if views else None],
    }
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    for name, tensor in _below_projections(parts):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _below_projections(parts: ModelParts) -> Iterator[tuple[str, Tensor]]:
    """The towers' weights and statistics."""
    above = {*SCALARS, *(name for tower in towers_of(parts.model) for name in tower.projection)}
    return ((name, tensor) for name, tensor in parts.model.state_dict().items() if name not in above)
