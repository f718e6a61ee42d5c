"""The image-text model, open_clip's, with its tokenizer and its input."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol, cast

import open_clip
import torch
from nbclip.errors import InvalidInput
from open_clip.transform import PreprocessCfg
from torch import Tensor, nn

from nbclip_trainer.models.adapters import adapt
from nbclip_trainer.models.locking import lock, set_to_train
from nbclip_trainer.models.settings import Architecture, ModelSettings
from nbclip_trainer.parallel.normalisation import has_batch_norm, normalise_over_ranks
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import World


class Tokenizer(Protocol):
    """Captions to token ids."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """int64, [N, context length]: that of the text tower where none is given; what is longer is cut."""
        ...


class ModelParts(NamedTuple):
    """A model and what turns captions and images into its input.

    `preprocess` holds size, resize mode, mean and standard deviation, as open_clip describes a model's input.
    """

    model: nn.Module
    tokenizer: Tokenizer
    preprocess: PreprocessCfg


def build_model(settings: ModelSettings, *, seed: int, with_bias: bool = False, load_weights: bool = True) -> ModelParts:
    """A model with random or pretrained weights, exp(logit_scale) restarted as `model.logit_scale` says.

    A logit bias that comes with the weights (SigLIP's) was learned with their scale: both are kept.

    Forward returns a dict. Random weights follow from the seed; torch's random state is left as it was.

    Args:
        settings: which model.
        seed: of random weights.
        with_bias: add a `logit_bias`, for losses that learn one.
        load_weights: False: random weights, since others will be put in their place.

    Raises:
        InvalidInput: open_clip has no such model or weights.
    """
    bias = 0.0 if with_bias else None
    with torch.random.fork_rng(devices=[]), _refusals_named(settings):
        torch.manual_seed(seed)
        if settings.architecture is None:
            parts = _named(settings, bias, load_weights)
        else:
            parts = _own(settings, settings.architecture, bias, load_weights)
        torch.manual_seed(seed)
        adapt(parts.model, settings)
    parts.model.output_dict = True  # type: ignore[assignment]
    if settings.logit_scale is not None and load_weights and not _keeps_its_scale(parts.model, settings.logit_scale):
        nn.init.constant_(cast(nn.Parameter, parts.model.logit_scale), math.log(settings.logit_scale))
    return parts


def tokenizer_of(settings: ModelSettings) -> Tokenizer:
    """The tokenizer alone, cut at the text tower's context length; raises InvalidInput as `build_model`."""
    if settings.architecture is not None:
        return cast(Tokenizer, open_clip.SimpleTokenizer(context_length=settings.architecture.text_cfg.context_length))
    with _refusals_named(settings):
        if ":" not in settings.name:
            _check_name(settings)
        return cast(Tokenizer, open_clip.get_tokenizer(settings.name))


def has_own_bias(model: nn.Module) -> bool:
    """Whether the model has a logit bias that is no blank: one of its weights, or of its kind's beginning."""
    bias = cast(Tensor | None, getattr(model, "logit_bias", None))
    return bias is not None and bool(bias.any())


def _keeps_its_scale(model: nn.Module, wanted: float) -> bool:
    """Whether a bias goes with the scale; a scale that was asked for is refused then, and not passed over."""
    if not has_own_bias(model):
        return False
    if wanted != ModelSettings.model_fields["logit_scale"].default:
        raise InvalidInput(
            f"model.logit_scale={wanted:g}: the model has a logit bias, which was learned with a scale of its own",
            hint="leave model.logit_scale out",
        )
    return True


def prepared(model: nn.Module, chosen: ModelSettings, settings: DeviceSettings, world: World) -> nn.Module:
    """The model as a run trains it, with the same parameters under the same names.

    Raises:
        InvalidInput: settings that this model can't have.
    """
    lock(model, chosen)
    set_to_train(model, chosen)
    if settings.chunk_size is not None and has_batch_norm(model):
        raise InvalidInput(
            f"device.chunk_size={settings.chunk_size}: the model has batch normalisation, which would see chunks for the batch",
            hint="a vision transformer has none; or spread the batch over more processes",
        )
    model = normalise_over_ranks(model, world)
    if settings.grad_checkpointing:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    if settings.compile:
        model.compile()
    return model


def _own(settings: ModelSettings, architecture: Architecture, bias: float | None, load_weights: bool) -> ModelParts:
    model = open_clip.CLIP(**architecture.model_dump(), init_logit_bias=bias)
    if settings.pretrained and load_weights:
        open_clip.load_checkpoint(model, settings.pretrained)
    preprocess = PreprocessCfg(size=architecture.vision_cfg.image_size, resize_mode=settings.resize)
    open_clip.set_model_preprocess_cfg(model, asdict(preprocess))
    return ModelParts(model, tokenizer_of(settings), preprocess)


def _named(settings: ModelSettings, bias: float | None, load_weights: bool) -> ModelParts:
    if ":" not in settings.name and load_weights:
        _check_name(settings)
    # Without weights a tag still says how images are prepared; a weights file does not, and may be gone.
    known = settings.pretrained is not None and bool(open_clip.get_pretrained_cfg(settings.name, settings.pretrained))
    extra = {} if bias is None else {"init_logit_bias": bias}
    model, _, _ = open_clip.create_model_and_transforms(
        settings.name,
        settings.pretrained if load_weights or known else None,
        load_weights=load_weights,
        pretrained_text=load_weights,
        image_resize_mode=settings.resize,
        **extra,
    )
    return ModelParts(model, open_clip.get_tokenizer(settings.name), PreprocessCfg(**model.visual.preprocess_cfg))


def _check_name(settings: ModelSettings) -> None:
    """Refuses, before anything is downloaded, what open_clip lacks or only warns of."""
    config = open_clip.get_model_config(settings.name)
    if config is None:
        close = difflib.get_close_matches(settings.name, open_clip.list_models(), 5, 0.3)
        raise InvalidInput(
            f"model.name={settings.name!r}: open_clip has no such model", hint=f"similar names: {', '.join(close)}"
        )
    tag = settings.pretrained
    if tag is None or Path(tag).is_file():
        return
    weights = open_clip.get_pretrained_cfg(settings.name, tag)
    if not weights:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(settings.name))
        raise InvalidInput(
            f"model.pretrained={tag!r}: neither a file nor a tag of {settings.name}", hint=f"tags: {tags or 'none'}"
        )
    if weights.get("quick_gelu", False) != config.get("quick_gelu", False):
        raise InvalidInput(
            f"model.pretrained={tag!r} was made with another activation than model.name={settings.name!r} has",
            hint=f"use model.name={settings.name}-quickgelu" if weights.get("quick_gelu") else "drop -quickgelu from model.name",
        )


@contextmanager
def _refusals_named(settings: ModelSettings) -> Iterator[None]:
    """Turns open_clip's ways of refusing a model or its weights into one line."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        raise InvalidInput(
            f"model.name={settings.name!r}, model.pretrained={settings.pretrained!r}: {' '.join(str(error).split()):.300}",
            hint="without a network, set model.pretrained to a weights file",
        ) from error
