"""Whether tokenizer and towers fit together: what open_clip would find out in the middle of a step, or never."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from nbclip.errors import InvalidInput
from open_clip.tokenizer import HFTokenizer
from torch import nn

from nbclip_trainer.models.recipe import Recipe
from nbclip_trainer.models.settings import MISSING_HINT

_OFFSET = {"roberta", "xlm-roberta", "camembert"}
"""Kinds of text towers that count positions from behind their padding token."""


def check_sources(recipe: Recipe) -> None:
    """Raises InvalidInput if the model needs transformers, which is not installed, or a folder that is not there."""
    named = [name for name in (recipe.text_tower, recipe.tokenizer) if name]
    if named and find_spec("transformers") is None:
        raise InvalidInput(
            f"{named[0]}: a text tower or tokenizer of Hugging Face's, and transformers is not installed",
            hint="uv pip install 'nbclip-trainer[transformers]'",
        )
    for name in named:
        # ORG/NAME has neither; transformers would look it up on the hub.
        if name.startswith((".", "/")) and not Path(name).is_dir():
            raise InvalidInput(f"{name}: no such folder", hint=MISSING_HINT)


def check_towers(model: nn.Module, tokenizer: object, recipe: Recipe) -> None:
    """Raises InvalidInput if the towers can't read what tokenizer and transforms give them."""
    if isinstance(tokenizer, HFTokenizer):
        _check_tokens(model, tokenizer.tokenizer, recipe)
    config = getattr(getattr(model, "text", None), "config", None)
    if config is not None:
        _check_context(config, recipe)
    trunk = getattr(model.visual, "trunk", None)
    if trunk is not None:
        _check_size(trunk.pretrained_cfg, recipe)


def _check_tokens(model: nn.Module, tokenizer: Any, recipe: Recipe) -> None:
    known, read = len(tokenizer), cast(int, model.vocab_size)
    if known > read or 2 * known < read:
        raise InvalidInput(
            f"{recipe.tokenizer}: a tokenizer of {known} tokens, for a text tower of {read}",
            hint="name the tower's own tokenizer: model.architecture.text_cfg.hf_tokenizer_name",
        )
    config = getattr(getattr(model, "text", None), "config", None)
    if config is not None and tokenizer.pad_token_id != config.pad_token_id:
        raise InvalidInput(
            f"{recipe.tokenizer}: its padding is token {tokenizer.pad_token_id}, the text tower's is {config.pad_token_id}",
            hint="name the tower's own tokenizer: model.architecture.text_cfg.hf_tokenizer_name",
        )


def _check_context(config: Any, recipe: Recipe) -> None:
    """A tower of Hugging Face's has an embedding for each position, and what is beyond has none."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return
    longest = positions - config.pad_token_id - 1 if config.model_type in _OFFSET else positions
    if recipe.context_length > longest:
        raise InvalidInput(
            f"context_length={recipe.context_length}: the text tower {recipe.text_tower} reads at most {longest} tokens",
            hint=f"lower it to {longest}, or use another tower",
        )


def _check_size(trunk: dict[str, Any], recipe: Recipe) -> None:
    """A transformer of timm's has an embedding for each patch, and open_clip does not resize them."""
    made, wanted = trunk["input_size"][-1], recipe.config["vision_cfg"].get("image_size", 224)
    if trunk.get("fixed_input_size") and wanted not in (made, [made, made], (made, made)):
        raise InvalidInput(
            f"image_size={wanted}: timm's {trunk['architecture']} is made for {made} pixels",
            hint=f"model.architecture.vision_cfg.image_size={made}; or timm's model of the other size, or a convolutional one",
        )
