"""Evaluations of runs whose towers are locked: what the towers compute of pictures is kept, and projected by each run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nbclip_trainer.data.dataset import FrameDataset
from nbclip_trainer.data.features import FeaturesOfImages
from nbclip_trainer.evaluation.encoding import PIXELS, Encode, Encoded, encode_pairs
from nbclip_trainer.evaluation.features import Float32, raw_pixels
from nbclip_trainer.models.heads import Heads
from nbclip_trainer.parallel.world import World
from nbclip_trainer.trained.loading import LoadedRun
from nbclip_trainer.training.features import cached


def encoded_once(features: Path | None) -> Encode:
    """How an evaluation encodes: through features that are kept in a folder; None: anew, since the towers train."""
    if features is None:
        return encode_pairs

    def encode(
        loaded: LoadedRun, files: Sequence[Path], captions: Sequence[str] | None, max_pixels: int, world: World
    ) -> Encoded:
        if captions is None:
            return encode_pairs(loaded, files, captions, max_pixels, world)
        seen = cached(_dataset(files, captions), loaded.parts, loaded.config, features, world)
        if seen.bad or not isinstance(seen.images, FeaturesOfImages):
            # It says which image can't be decoded.
            return encode_pairs(loaded, files, captions, max_pixels, world)
        image_NE, text_NE = seen.images.features[0], seen.texts[range(len(files))]
        return {**_projected(loaded, image_NE, text_NE, world), PIXELS: _pixels(tuple(files), max_pixels)}

    return encode


@torch.inference_mode()
def _projected(loaded: LoadedRun, image_NE: Tensor, text_NE: Tensor, world: World) -> Encoded:
    """Features in the joint space, and before the projections, as `encode_pairs` names them."""
    both = Heads(loaded.model)(image_NE.to(world.device), text_NE.to(world.device))
    encoded = {"image": both["image_features"], "caption": both["text_features"]}
    encoded |= {"backbone": normalize(image_NE, dim=1), "caption_backbone": normalize(text_NE, dim=1)}
    return {name: features.float().cpu().numpy() for name, features in encoded.items()}


def _dataset(files: Sequence[Path], captions: Sequence[str]) -> FrameDataset:
    names = [str(file) for file in files]
    return FrameDataset(pl.DataFrame({"image_id": names, "file": names, "caption": list(captions)}))


@lru_cache(maxsize=4)
def _pixels(files: tuple[Path, ...], max_pixels: int) -> Float32:
    return raw_pixels(files, max_pixels)
