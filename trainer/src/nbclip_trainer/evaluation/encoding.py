"""Features of many images and captions, which the ranks of a run share among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from nbclip.files.addresses import Location

from nbclip_trainer.evaluation.features import Features, encode_captions, encode_images, raw_pixels
from nbclip_trainer.evaluation.kept import Keeper
from nbclip_trainer.parallel.collectives import from_all
from nbclip_trainer.parallel.world import World
from nbclip_trainer.trained.loading import LoadedRun, least_side_of

_BATCH = 128
PIXELS = "raw pixels"
Encoded = dict[str, npt.NDArray[np.float32]]
"""Features row by row: `image` and `caption`, `backbone` and `caption_backbone` of towers that project, and raw pixels."""


def encode_pairs(
    loaded: LoadedRun, files: Sequence[Location], captions: Sequence[str] | None, max_pixels: int, world: World
) -> Encoded:
    """Features of images, and of captions where they are given, on every rank.

    Ranks take turns at batches, which are the same however many ranks there are, and so are the features.

    Raises:
        BadImage: a file can't be decoded.
        InvalidInput: the image tower is of a kind whose projection is not known.
    """
    starts = range(world.rank * _BATCH, len(files), world.ranks * _BATCH)
    own = [row for start in starts for row in range(start, min(start + _BATCH, len(files)))]
    encoded: Encoded = {}
    if own:
        encoded = _encoded(loaded, [files[row] for row in own], captions and [captions[row] for row in own], max_pixels, world)
    parts = [part for part in from_all((own, encoded), world) if part[0]]
    order = np.concatenate([np.array(rows, np.int64) for rows, _ in parts]).argsort()
    return {name: np.concatenate([found[name] for _, found in parts])[order] for name in parts[0][1]}


def _encoded(
    loaded: LoadedRun, files: Sequence[Location], captions: Sequence[str] | None, max_pixels: int, world: World
) -> Encoded:
    model, device = loaded.model, str(world.device)
    least = least_side_of(model, loaded.config.data)
    keeper = Keeper(loaded, _BATCH)
    image = encode_images(
        model, loaded.preprocess, files, batch_size=_BATCH, device=device, max_pixels=max_pixels, least=least,
        keep=keeper.of_images(files, max_pixels),
    )  # fmt: skip
    batches = (files[start : start + _BATCH] for start in range(0, len(files), _BATCH))
    pixels = keeper.of_pixels(files, max_pixels)(torch.from_numpy(raw_pixels(batch, max_pixels)) for batch in batches)
    encoded = {**_named("image", "backbone", image), PIXELS: torch.cat([part.cpu() for part in pixels]).numpy()}
    if captions is None:
        return encoded
    keep = keeper.of_captions(captions)
    caption = encode_captions(model, loaded.tokenizer, captions, batch_size=_BATCH, device=device, keep=keep)
    return {**encoded, **_named("caption", "caption_backbone", caption)}


def _named(after: str, before: str, features: Features) -> Encoded:
    return {after: features.projected} if features.backbone is None else {after: features.projected, before: features.backbone}
