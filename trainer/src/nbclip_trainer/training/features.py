"""Features of locked towers, computed once and kept in a folder, so that the projections alone are trained.

FOLDER/KEY/image.f32, text.f32   float32, a row of each pair
FOLDER/KEY/found.json            their shapes, and what a look at the images found; an entry without it is none

The key is a digest of all that the features follow from: the towers' weights, how images are prepared, captions and image files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nbclip.errors import BrokenArtefact, InvalidInput
from torch import Tensor

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.features import FeaturesOfImages
from nbclip_trainer.data.stored import identity
from nbclip_trainer.models.building import ModelParts
from nbclip_trainer.models.captions import Cut
from nbclip_trainer.models.heads import below_projections
from nbclip_trainer.models.stages import SCALARS, towers_of
from nbclip_trainer.parallel.collectives import from_all, from_first
from nbclip_trainer.parallel.world import World, autocast, tower_dtype
from nbclip_trainer.runs.durable import replacing
from nbclip_trainer.training.sight import Seen, look

_log = logging.getLogger(__name__)
_BATCH = 128
_KINDS = ("image", "text")
_Shapes = dict[str, list[int]]


def cached(dataset: Dataset, parts: ModelParts, config: TrainConfig, folder: Path, world: World) -> Seen:
    """A split as the towers see it, from the folder or, where it is not there yet, computed into it by all ranks.

    Raises:
        InvalidInput: the folder can't be written to.
        BrokenArtefact: an entry is damaged.
    """
    key = from_first(_key(dataset, parts, config, world) if world.leads else "", world)
    entry, scratch = folder / key, folder / f".{key}"
    with _turn(folder, key) if world.leads else nullcontext():
        if not from_first((entry / "found.json").is_file(), world):
            if world.leads:
                # What a killed run has left.
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
            from_first(None, world)
            _compute(dataset, parts, config, scratch, world)
            if world.leads:
                scratch.rename(entry)
            from_first(None, world)
    return _opened(entry, len(dataset))


@contextmanager
def _turn(folder: Path, key: str) -> Iterator[None]:
    """Waits while another run computes the same features."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{key}.lock").open("w")
    except OSError as error:
        raise InvalidInput(f"data.features={str(folder)!r}: {error.strerror}", hint="name a folder to write to") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compute(dataset: Dataset, parts: ModelParts, config: TrainConfig, scratch: Path, world: World) -> None:
    """Each rank computes its share of the rows, and writes it in its place."""
    if world.leads:
        _log.warning("computing the features of %d pairs once, into %s", len(dataset), scratch.parent)
    seen = look(dataset, parts, config)
    own = np.array_split(np.arange(len(dataset)), world.ranks)[world.rank]
    good = [row for row in own.tolist() if row not in seen.bad]
    batches = [good[start : start + _BATCH] for start in range(0, len(good), _BATCH)]
    bad, shapes = dict(seen.bad), {}
    for decoded in seen.images.plain(batches):
        bad |= decoded.bad
        if decoded.rows:
            shapes = _write(scratch, decoded.rows, _features(parts, decoded.pixels, seen.texts[decoded.rows], config, world))
    found = from_all((bad, shapes), world)
    if world.leads:
        shapes = next((shapes for _, shapes in found if shapes), {})
        _finish(scratch, len(dataset), shapes, {row: why for bad, _ in found for row, why in bad.items()}, seen)


def _features(
    parts: ModelParts, image_B3HW: Tensor, token_BL: Tensor, config: TrainConfig, world: World
) -> dict[str, np.ndarray[Any, Any]]:
    images = image_B3HW.to(world.device, memory_format=torch.channels_last)
    parts.model.eval()
    with autocast(world, config.device):
        both = below_projections(parts.model, images, token_BL.long().to(world.device))
    return {kind: features.float().cpu().contiguous().numpy() for kind, features in zip(_KINDS, both, strict=True)}


def _write(scratch: Path, rows: list[int], features: Mapping[str, np.ndarray[Any, Any]]) -> _Shapes:
    """Writes rows in their places, and says of what shape one is."""
    for kind, rows_B in features.items():
        descriptor = os.open(_file(scratch, kind), os.O_WRONLY | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            for row, values in zip(rows, rows_B, strict=True):
                file.seek(row * values.nbytes)
                file.write(values.tobytes())
    return {kind: list(rows_B.shape[1:]) for kind, rows_B in features.items()}


def _finish(scratch: Path, rows: int, shapes: _Shapes, bad: Mapping[int, str], seen: Seen) -> None:
    for kind, shape in shapes.items():
        with _file(scratch, kind).open("r+b") as file:
            # Rows of bad images at the end were not written.
            file.truncate(4 * rows * int(np.prod(shape)))
            os.fsync(file.fileno())
    found = {"shapes": shapes, "bad": bad, "frames": seen.frames, "cut": asdict(seen.cut)}
    with replacing(scratch / "found.json") as path:
        path.write_text(json.dumps(found), encoding="utf-8")


def _opened(entry: Path, rows: int) -> Seen:
    try:
        found = json.loads((entry / "found.json").read_text(encoding="utf-8"))
        image, text = (_mapped(entry, kind, rows, found["shapes"][kind]) for kind in _KINDS)
        by_row = {name: {int(row): value for row, value in found[name].items()} for name in ("bad", "frames")}
        return Seen(FeaturesOfImages(image), text, by_row["bad"], by_row["frames"], Cut(**found["cut"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenArtefact(f"{entry}: damaged: {error}", hint="remove this folder, and it is computed again") from error


def _mapped(entry: Path, kind: str, rows: int, shape: list[int]) -> Tensor:
    # Copy on write, since torch warns of memory that it may not write to.
    return torch.from_numpy(np.memmap(_file(entry, kind), np.float32, "c", shape=(rows, *shape)))


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.f32"


def _key(dataset: Dataset, parts: ModelParts, config: TrainConfig, world: World) -> str:
    """SHA-256, hexadecimal."""
    given = {
        "format": 1,
        "version": version("nbclip-trainer"),
        "model": config.model.reading(),
        "preprocess": asdict(parts.preprocess),
        "precision": str(tower_dtype(world, config.device)),
        "images": [config.data.pictures, config.data.max_pixels, config.data.draft],
        "pairs": dataset.digest(),
    }
    digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode())
    for file in dataset.labels("file"):
        digest.update(f"{identity(Path(file)) or 'missing'}\n".encode())
    for name, tensor in _below_projections(parts):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _below_projections(parts: ModelParts) -> Iterator[tuple[str, Tensor]]:
    """The towers' weights and statistics."""
    above = {*SCALARS, *(name for tower in towers_of(parts.model) for name in tower.projection)}
    return ((name, tensor) for name, tensor in parts.model.state_dict().items() if name not in above)
