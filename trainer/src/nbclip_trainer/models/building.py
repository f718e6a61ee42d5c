"""The image-text model, open_clip's, with its tokenizer and its input."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import open_clip
import torch
from nbclip.errors import InvalidInput
from open_clip.constants import HF_CONFIG_NAME
from open_clip.push_to_hf_hub import save_config_for_hf
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, merge_preprocess_dict
from torch import Tensor, nn

from nbclip_trainer.models.adapters import adapt
from nbclip_trainer.models.locking import lock, set_to_train
from nbclip_trainer.models.recipe import Recipe, has_recipe, read_recipe, recipe_of, weights_of
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.models.towers import check_sources, check_towers
from nbclip_trainer.models.weights import load_image_tower, load_model, load_text_tower
from nbclip_trainer.parallel.normalisation import has_batch_norm, normalise_over_ranks
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.parallel.world import World

_log = logging.getLogger(__name__)


class Tokenizer(Protocol):
    """Captions to token ids."""

    def __call__(self, texts: list[str], context_length: int | None = None) -> Tensor:
        """int64, [N, context length]: that of the text tower where none is given; what is longer is cut."""
        ...


class ModelParts(NamedTuple):
    """A model and what turns captions and images into its input.

    `preprocess` holds size, resize mode, mean and standard deviation, as open_clip describes a model's input.
    `recipe` is what the model was built by.
    """

    model: nn.Module
    tokenizer: Tokenizer
    preprocess: PreprocessCfg
    recipe: Recipe


def build_model(
    settings: ModelSettings, *, seed: int, with_bias: bool = False, load_weights: bool = True, kept: Path | None = None
) -> ModelParts:
    """A model with random or pretrained weights, exp(logit_scale) restarted as `model.logit_scale` says.

    A logit bias that comes with the weights (SigLIP's) was learned with their scale: both are kept.

    Forward returns a dict. Random weights follow from the seed; torch's random state is left as it was.

    Args:
        settings: which model.
        seed: of random weights.
        with_bias: add a `logit_bias`, for losses that learn one.
        load_weights: False: random weights, since others will be put in their place.
        kept: where `write_model` wrote this model before; what `settings` name may be gone since. Nothing there: not used.

    Raises:
        InvalidInput: no such model or weights, or parts that do not fit together.
        BrokenArtefact: a folder's config is damaged.
    """
    with torch.random.fork_rng(devices=[]), _refusals_named(settings):
        torch.manual_seed(seed)
        whole = weights_of(settings) if load_weights else None
        recipe = read_recipe(kept) if kept is not None and has_recipe(kept) else recipe_of(settings)
        tokenizer = _tokenizer(recipe)
        model = _assembled(recipe, bias=with_bias, timm_weights=load_weights and _takes_timms(settings))
        check_towers(model, tokenizer, recipe)
        if load_weights:
            _load(model, settings, recipe, whole)
        torch.manual_seed(seed)
        adapt(model, settings)
    preprocess = _preprocess(model, recipe, settings)
    open_clip.set_model_preprocess_cfg(model, asdict(preprocess))
    if settings.logit_scale is not None and load_weights and not _keeps_its_scale(model, settings.logit_scale):
        nn.init.constant_(cast(nn.Parameter, model.logit_scale), math.log(settings.logit_scale))
    return ModelParts(model, tokenizer, preprocess, recipe)


def tokenizer_of(settings: ModelSettings) -> Tokenizer:
    """The tokenizer alone, cut at the text tower's context length; raises as `build_model`."""
    with _refusals_named(settings):
        return _tokenizer(recipe_of(settings))


def write_model(folder: Path, parts: ModelParts) -> None:
    """Writes all of a model but its weights: open_clip's config, and the files of a Hugging Face tower and tokenizer.

    `kept` of `build_model` and, with weights beside them, open_clip's `local-dir:` take the folder. Names of local folders, which
    mean nothing elsewhere, become `.`, this folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = copy.deepcopy(dict(parts.recipe.elsewhere().config))
    if isinstance(parts.tokenizer, HFTokenizer):
        parts.tokenizer.save_pretrained(folder)
    if parts.recipe.text_tower:
        cast(Any, parts.model).text.config.save_pretrained(folder)
    if getattr(parts.model, "logit_bias", None) is not None:
        config.setdefault("init_logit_bias", 0.0)
    # Last: a folder counts by it.
    save_config_for_hf(parts.model, folder / HF_CONFIG_NAME, config)


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


def _tokenizer(recipe: Recipe) -> Tokenizer:
    check_sources(recipe)
    options = dict(recipe.text.get("tokenizer_kwargs") or {})
    if not recipe.tokenizer:
        return cast(Tokenizer, open_clip.SimpleTokenizer(context_length=recipe.context_length, **options))
    mode = recipe.text.get("tokenizer_mode")
    return cast(Tokenizer, HFTokenizer(recipe.tokenizer, recipe.context_length, tokenizer_mode=mode, **options))


def _assembled(recipe: Recipe, *, bias: bool, timm_weights: bool) -> nn.Module:
    """The model with random weights, as open_clip's `create_model` puts it together."""
    config = copy.deepcopy(dict(recipe.config))
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = timm_weights
    if recipe.text_tower:
        text |= {"hf_model_name": recipe.text_tower, "hf_model_pretrained": False}
    if bias:
        config["init_logit_bias"] = 0.0
    custom = config.pop("custom_text", False) or recipe.text_tower
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(**config)
    model.output_dict = True
    return cast(nn.Module, model.float())


def _takes_timms(settings: ModelSettings) -> bool:
    """Whether timm is to download weights: where our own architecture asks for it, and nothing else takes their place."""
    own = settings.architecture
    return bool(own and own.vision_cfg.timm_model_pretrained and not settings.pretrained and not settings.image_weights)


def _load(model: nn.Module, settings: ModelSettings, recipe: Recipe, whole: Path | None) -> None:
    """The whole model's weights, and over them those of the towers."""
    if whole is not None:
        load_model(model, whole, "model.pretrained" if settings.pretrained else "model.name")
    elif recipe.folder is not None:
        _log.warning("%s has no weights: training starts from random ones", settings.name)
    if settings.image_weights:
        load_image_tower(cast(nn.Module, model.visual), Path(settings.image_weights).expanduser())
    if settings.text_weights:
        load_text_tower(model, str(Path(settings.text_weights).expanduser()), "model.text_weights")
    elif whole is None and recipe.brings_text_weights:
        load_text_tower(model, str(recipe.text_tower), "model.architecture.text_cfg.hf_model_name")


def _preprocess(model: nn.Module, recipe: Recipe, settings: ModelSettings) -> PreprocessCfg:
    """What the settings or the weights say of the input; a timm model of our own architecture knows its colours."""
    visual = cast(Any, model.visual)
    trunk = getattr(visual, "trunk", None) if settings.architecture is not None else None
    colours = {} if trunk is None else {name: trunk.pretrained_cfg[name] for name in ("mean", "std")}
    known = {**asdict(PreprocessCfg()), **colours, **recipe.preprocess, "size": visual.image_size}
    return PreprocessCfg(**merge_preprocess_dict({}, known))


@contextmanager
def _refusals_named(settings: ModelSettings) -> Iterator[None]:
    """Turns the libraries' ways of refusing a model or its weights into one line."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, AssertionError, ImportError) as error:
        raise InvalidInput(
            f"model.name={settings.name!r}, model.pretrained={settings.pretrained!r}: {' '.join(str(error).split()):.300}",
            hint=_way_out(settings),
        ) from error


def _way_out(settings: ModelSettings) -> str:
    """What does without a network, the lack of which is the most common refusal."""
    if settings.architecture is not None:
        return "without a network, hf_model_name and hf_tokenizer_name must be folders, and timm_model_pretrained false"
    if settings.name.startswith("local-dir:"):
        return "without a network, the folder needs config.json of the text tower and the files of the tokenizer"
    return "without a network, copy the model into a folder and set model.name=local-dir:FOLDER, or set model.pretrained=FILE"
