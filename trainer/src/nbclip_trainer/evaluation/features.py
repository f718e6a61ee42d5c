"""Image and text features of a model, after the projection into the joint space and before it.

Shape legend: N images or texts, B of a batch, D dimensions of the joint space, E dimensions before the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nbclip.files.addresses import Location
from nbclip.files.pictures import fetched
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.data.settings import MAX_PIXELS
from nbclip_trainer.models.projections import Projection, unprojected, unprojected_text

Float32 = npt.NDArray[np.float32]
Keep = Callable[[Iterable[Tensor]], Iterable[Tensor]]
"""Takes what is about to be computed in parts, and gives these parts, computed now or before."""
RAW_SIDE = 16
_DECODERS = 4


@dataclass(frozen=True, slots=True)
class Features:
    """L2-normalised float32 features of images or of captions.

    Attributes:
        projected: in the joint space, [N, D]; cosines of images with texts mean something.
        backbone: what the tower projects, [N, E]; cosines within one tower only. None where it projects nothing.
    """

    projected: Float32
    backbone: Float32 | None


def encode_images(
    model: nn.Module,
    preprocess: Callable[[Image.Image], Tensor],
    files: Sequence[Location],
    *,
    batch_size: int = 128,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    least: int | None = None,
    keep: Keep = iter,
) -> Features:
    """Encodes images in one pass, in eval mode and fp32; `least` is that of `open_image`.

    `keep` is given what the tower is about to compute, batch by batch, and gives what it computed.

    Raises:
        BadImage: a file can't be decoded.
        InvalidInput: the image tower is of a kind whose projection is not known.
    """
    tower: Any = model.visual
    with torch.inference_mode(), _in_eval_mode(model), unprojected(tower) as project:
        batches = _batches(files, preprocess, batch_size, max_pixels, least)
        return _both(keep(tower(image_B3HW.to(device)) for image_B3HW in batches), project)


def encode_captions(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    captions: Sequence[str],
    *,
    batch_size: int = 256,
    device: str = "cpu",
    keep: Keep = iter,
) -> Features:
    """Encodes captions in one pass, in eval mode and fp32; `keep` as that of `encode_images`."""
    encode: Any = model.encode_text
    with torch.inference_mode(), _in_eval_mode(model), unprojected_text(model) as project:
        batches = (list(captions[start : start + batch_size]) for start in range(0, len(captions), batch_size))
        return _both(keep(encode(tokenizer(batch).to(device)) for batch in batches), project)


def encode_texts(
    model: nn.Module, tokenizer: Callable[[list[str]], Tensor], texts: Sequence[str], *, device: str = "cpu"
) -> Float32:
    """Texts in the joint space: L2-normalised, float32, [N, D]."""
    return encode_captions(model, tokenizer, texts, device=device).projected


def _both(feature_BEs: Iterable[Tensor], project: Projection | None) -> Features:
    """Features of all batches, before the projection and after it; where there is none, of one kind."""
    projected, backbone = [], []
    for feature_BE in feature_BEs:
        backbone.append(normalize(feature_BE, dim=1).float().cpu())
        projected.append(backbone[-1] if project is None else normalize(project(feature_BE), dim=1).float().cpu())
    before = None if project is None else torch.cat(backbone).numpy()
    return Features(torch.cat(projected).numpy(), before)


def raw_pixels(files: Sequence[Location], max_pixels: int = MAX_PIXELS) -> Float32:
    """The floor that a trained model must beat: each image as 16 x 16 greys less their mean, [N, 256].

    L2-normalised, so that the cosine of two images is the correlation of their pixels; a flat image is all zeros.
    """

    def pixels(file: Location) -> npt.NDArray[np.float64]:
        grey = open_image(file, max_pixels).convert("L").resize((RAW_SIDE, RAW_SIDE), Image.Resampling.BOX)
        return np.asarray(grey, np.float64).ravel()

    with ThreadPoolExecutor(_DECODERS) as pool:
        pixel_NP = np.stack(list(pool.map(pixels, files)))
    pixel_NP -= pixel_NP.mean(axis=1, keepdims=True)
    norm_N1 = np.linalg.norm(pixel_NP, axis=1, keepdims=True)
    unit_NP: npt.NDArray[np.float64] = np.divide(pixel_NP, norm_N1, out=np.zeros_like(pixel_NP), where=norm_N1 > 0)
    return unit_NP.astype(np.float32)


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _batches(
    files: Sequence[Location], preprocess: Callable[[Image.Image], Tensor], size: int, max_pixels: int, least: int | None
) -> Iterator[Tensor]:
    """Decoded images in order, float32, [B, 3, H, W]; Pillow decodes outside of Python's lock."""
    with ThreadPoolExecutor(_DECODERS) as pool:
        for start in range(0, len(files), size):
            part = files[start : start + size]
            with fetched(part):
                yield torch.stack(list(pool.map(lambda file: preprocess(open_image(file, max_pixels, least)), part)))
