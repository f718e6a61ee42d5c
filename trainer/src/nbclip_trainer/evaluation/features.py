"""Image and text features of a model, after the projection into the joint space and before it.

Shape legend: N images or texts, B of a batch, D dimensions of the joint space, E dimensions before the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nbclip.errors import InvalidInput
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from nbclip_trainer.data.decoding import open_image
from nbclip_trainer.data.settings import MAX_PIXELS

Float32 = npt.NDArray[np.float32]
RAW_SIDE = 16
_DECODERS = 4


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """L2-normalised float32 features of images.

    Attributes:
        projected: in the joint space, [N, D]; cosines with texts mean something.
        backbone: what the image tower projects, [N, E]; cosines among images only.
    """

    projected: Float32
    backbone: Float32


def encode_images(
    model: nn.Module,
    preprocess: Callable[[Image.Image], Tensor],
    files: Sequence[Path],
    *,
    batch_size: int = 128,
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
    least: int | None = None,
) -> ImageFeatures:
    """Encodes images in one pass, in eval mode and fp32; `least` is that of `open_image`.

    Raises:
        BadImage: a file can't be decoded.
        InvalidInput: the image tower is of a kind whose projection is not known.
    """
    projected, backbone = [], []
    tower: Any = model.visual
    with torch.inference_mode(), _in_eval_mode(model), unprojected(tower) as project:
        for image_B3HW in _batches(files, preprocess, batch_size, max_pixels, least):
            feature_BE = tower(image_B3HW.to(device))
            backbone.append(normalize(feature_BE, dim=1).cpu())
            projected.append(normalize(project(feature_BE), dim=1).cpu())
    return ImageFeatures(torch.cat(projected).float().numpy(), torch.cat(backbone).float().numpy())


def encode_texts(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    texts: Sequence[str],
    *,
    batch_size: int = 256,
    device: str = "cpu",
) -> Float32:
    """Texts in the joint space: L2-normalised, float32, [N, D]."""
    encode: Any = model.encode_text
    with torch.inference_mode(), _in_eval_mode(model):
        batches = (list(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size))
        features = [encode(tokenizer(batch).to(device), normalize=True).float().cpu() for batch in batches]
    return np.asarray(torch.cat(features).numpy())


def raw_pixels(files: Sequence[Path], max_pixels: int = MAX_PIXELS) -> Float32:
    """The floor that a trained model must beat: each image as 16 x 16 greys less their mean, [N, 256].

    L2-normalised, so that the cosine of two images is the correlation of their pixels; a flat image is all zeros.
    """

    def pixels(file: Path) -> npt.NDArray[np.float64]:
        grey = open_image(file, max_pixels).convert("L").resize((RAW_SIDE, RAW_SIDE), Image.Resampling.BOX)
        return np.asarray(grey, np.float64).ravel()

    with ThreadPoolExecutor(_DECODERS) as pool:
        pixel_NP = np.stack(list(pool.map(pixels, files)))
    pixel_NP -= pixel_NP.mean(axis=1, keepdims=True)
    norm_N1 = np.linalg.norm(pixel_NP, axis=1, keepdims=True)
    unit_NP: npt.NDArray[np.float64] = np.divide(pixel_NP, norm_N1, out=np.zeros_like(pixel_NP), where=norm_N1 > 0)
    return unit_NP.astype(np.float32)


@contextmanager
def unprojected(visual: Any) -> Iterator[Callable[[Tensor], Tensor]]:
    """Inside, the image tower returns its features before the projection; yields that projection.

    The three kinds of towers that open_clip has: a vision transformer with the matrix `proj`, a ModifiedResNet whose
    attention pool ends in the linear layer `c_proj`, and a timm trunk with a `head`. Each is put back at the end.

    Raises:
        InvalidInput: the tower is of another kind.
    """
    if isinstance(getattr(visual, "proj", None), nn.Parameter):
        matrix_ED = visual.proj
        with _replaced(visual, "proj", None):
            yield lambda feature_BE: feature_BE @ matrix_ED
    elif hasattr(visual, "attnpool"):
        layer = visual.attnpool.c_proj
        with _replaced(visual.attnpool, "c_proj", _identity_like(layer)):
            yield layer
    elif hasattr(visual, "trunk"):
        head = visual.head
        with _replaced(visual, "head", nn.Identity()):
            yield head
    else:
        raise InvalidInput(
            f"no projection is known of the image tower {type(visual).__name__}",
            hint="use a vision transformer, a ModifiedResNet or a timm model of open_clip",
        )


def _identity_like(layer: nn.Linear) -> nn.Linear:
    """A linear layer that changes nothing; the attention reads weight and bias and never calls the layer."""
    identity = nn.Linear(layer.in_features, layer.in_features, device=layer.weight.device, dtype=layer.weight.dtype)
    nn.init.eye_(identity.weight)
    nn.init.zeros_(identity.bias)
    return identity.requires_grad_(False)


@contextmanager
def _replaced(module: nn.Module, name: str, part: nn.Module | None) -> Iterator[None]:
    original = getattr(module, name)
    setattr(module, name, part)
    try:
        yield
    finally:
        setattr(module, name, original)


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _batches(
    files: Sequence[Path], preprocess: Callable[[Image.Image], Tensor], size: int, max_pixels: int, least: int | None
) -> Iterator[Tensor]:
    """Decoded images in order, float32, [B, 3, H, W]; Pillow decodes outside of Python's lock."""
    with ThreadPoolExecutor(_DECODERS) as pool:
        for start in range(0, len(files), size):
            part = files[start : start + size]
            yield torch.stack(list(pool.map(lambda file: preprocess(open_image(file, max_pixels, least)), part)))
