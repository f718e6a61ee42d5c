"""Weights from files into models: all that a model or a tower has, or a line that names the first tensors that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import open_clip
import torch
from nbclip.errors import InvalidInput
from open_clip.factory import load_state_dict
from open_clip.hf_model import HFTextEncoder
from open_clip.model import resize_pos_embed, resize_text_pos_embed
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nbclip_trainer.models.adapters import ADAPTER
from nbclip_trainer.models.settings import MISSING_HINT
from nbclip_trainer.runs.checkpoint import has_checkpoint, load_checkpoint, part

_UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, AttributeError, StopIteration, UnpicklingError, SafetensorError)
_NUMPY = {".npz", ".npy"}
"""SigLIP's weights as Google wrote them, which open_clip converts."""
_HINT = "the weights are of another model, or the settings of this one differ"
_NAMED = 3
"""Tensors that a refusal names."""


def load_model(model: nn.Module, path: Path, key: str) -> None:
    """Puts the weights of a file, or of a run's newest checkpoint, into a whole model.

    A logit bias is 0 where the weights have none. Positional embeddings of open_clip's own towers are resized.

    Args:
        model: open_clip's.
        path: a file, or the folder of a run.
        key: the setting that named it, for messages.

    Raises:
        InvalidInput: not weights, or of another model.
    """
    source = f"{key}={path}"
    if path.is_dir():
        if not has_checkpoint(path):
            raise InvalidInput(f"{source}: no checkpoint of a run is there", hint="name a weights file, or the folder of a run")
        _load_run(model, load_checkpoint(path).tensors, source)
    elif path.suffix in _NUMPY:
        open_clip.load_checkpoint(model, str(path))
    elif "model.logit_scale" in (names := _names(path, source)):
        _load_run(model, _read(path, source), source)
    elif "logit_bias" in names and getattr(model, "logit_bias", None) is None:
        raise InvalidInput(
            f"{source}: weights with a logit bias, for a model without", hint="set model.architecture.init_logit_bias=0"
        )
    else:
        _load_as_open_clip(model, path, source)


def load_image_tower(visual: nn.Module, path: Path) -> None:
    """Puts the weights of a file into an image tower: timm's, whose classifier stays behind, or open_clip's with the projection.

    Raises:
        InvalidInput: not weights, or of another tower.
    """
    source = f"model.image_weights={path}"
    tensors = _read(path, source)
    tensors = part(tensors, "visual") or tensors
    trunk = getattr(visual, "trunk", None)
    if trunk is None or part(tensors, "trunk"):
        _fit(visual, tensors, source)
        return
    classifier = _classifier(trunk)
    # What the tower has in the place of the classifier is its projection.
    own = {name: tensor for name, tensor in trunk.state_dict().items() if name.startswith(classifier)}
    _fit(trunk, {**{name: tensor for name, tensor in tensors.items() if not name.startswith(classifier)}, **own}, source)


def load_text_tower(model: nn.Module, name: str, key: str) -> None:
    """Puts weights into the text tower of a model: Hugging Face's, whose heads stay behind, or open_clip's.

    Args:
        model: open_clip's.
        name: a file, or for a tower of Hugging Face's also a folder or ORG/NAME.
        key: the setting that named it, for messages.

    Raises:
        InvalidInput: not weights, or of another tower.
    """
    source, text = f"{key}={name}", getattr(model, "text", None)
    if text is None:
        raise InvalidInput(
            f"{source}: this model's text tower is no part of its own",
            hint="model.pretrained takes the weights of a whole model",
        )
    if isinstance(text, HFTextEncoder):
        _load_hugging_face(text, name, source)
    else:
        tensors = _read(Path(name), source)
        _fit(text, part(tensors, "text") or tensors, source)


def _names(path: Path, source: str) -> set[str]:
    """The names of a file's tensors; of safetensors without the tensors."""
    if path.suffix != ".safetensors":
        return set(_read(path, source))
    try:
        with safe_open(path, "pt") as file:
            return set(file.keys())
    except _UNREADABLE as error:
        raise _unreadable(source, error) from error


def _read(path: Path, source: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of one that torch wrote."""
    try:
        return dict(load_state_dict(str(path)))
    except _UNREADABLE as error:
        raise _unreadable(source, error) from error


def _unreadable(source: str, error: Exception) -> InvalidInput:
    if isinstance(error, FileNotFoundError):
        return InvalidInput(f"{source}: no such file", hint=MISSING_HINT)
    # torch's own text names settings of torch.load, which are not to be had here.
    reason = "no safetensors, nor what torch.save wrote" if isinstance(error, UnpicklingError) else " ".join(str(error).split())
    return InvalidInput(f"{source}: not a weights file: {reason:.200}", hint="check the file")


def _load_as_open_clip(model: nn.Module, path: Path, source: str) -> None:
    """Converts what open_clip knows of other formats."""
    try:
        open_clip.load_checkpoint(model, str(path))
    except RuntimeError as error:
        misfits = "; ".join(f"{line.strip().rstrip('. '):.120}" for line in str(error).splitlines()[1:])
        raise InvalidInput(f"{source}: does not fit {type(model).__name__}: {misfits}", hint=_HINT) from error


def _load_run(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """A run's weights, averaged if it averages them; a bias is blank where the run has none."""
    weights = _resized(model, {**part(tensors, "model"), **part(tensors, "average")})
    if any(ADAPTER in name for name in weights):
        raise InvalidInput(
            f"{source}: weights of a run with adapters (lora)", hint="`nbclip export` merges them: model.name=local-dir:FOLDER"
        )
    bias = cast(Tensor | None, getattr(model, "logit_bias", None))
    _fit(model, weights if bias is None else {"logit_bias": torch.zeros_like(bias), **weights}, source)


def _resized(model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Positional embeddings of open_clip's own towers as long as the model's; others as they are, to be refused."""
    own = model.state_dict()
    resize = {
        "visual.positional_embedding": resize_pos_embed,
        "positional_embedding": resize_text_pos_embed,
        "text.positional_embedding": resize_text_pos_embed,
    }
    for name in resize.keys() & own.keys() & weights.keys():
        if own[name].shape[1:] == weights[name].shape[1:]:
            resize[name](weights, model)
    return weights


def _classifier(trunk: nn.Module) -> tuple[str, ...]:
    """What the names of a timm model's classifiers begin with."""
    named = cast(dict[str, Any], trunk.pretrained_cfg).get("classifier") or ()
    return tuple(f"{name}." for name in ([named] if isinstance(named, str) else named))


def _load_hugging_face(text: HFTextEncoder, name: str, source: str) -> None:
    """By transformers, which knows older names of tensors, and what models with heads have before theirs."""
    from transformers import AutoModel

    tower, whole = text.transformer, text.config.is_encoder_decoder
    pooling = {} if whole else {"add_pooling_layer": getattr(tower, "pooler", None) is not None}
    given = {"state_dict": _read(Path(name), source)} if Path(name).is_file() else {}
    with _quiet_transformers():
        loaded, found = (AutoModel if whole else type(tower)).from_pretrained(
            None if given else name,
            config=text.config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **pooling,
            **given,
        )
    parts = {name for name, _ in tower.named_children()}
    _refuse(
        [
            *(f"{tensor} {list(theirs)} for {list(ours)}" for tensor, theirs, ours in sorted(found["mismatched_keys"])),
            *(f"{tensor} missing" for tensor in sorted(found["missing_keys"])),
            *(
                f"{tensor} unknown"
                for tensor in sorted(found["unexpected_keys"])
                if _within(tensor, parts, tower.base_model_prefix)
            ),
        ],
        type(tower).__name__,
        source,
    )
    tower.load_state_dict((loaded.encoder if whole else loaded).state_dict())


def _within(name: str, parts: set[str], prefix: str) -> bool:
    """Whether a tensor is of the tower and not of a head behind it."""
    return name.removeprefix(f"{prefix}.").partition(".")[0] in parts


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its progress bar and its table of tensors that fit nothing, which `_refuse` looks at."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def _fit(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    own = module.state_dict()
    # Older files do without these counts, and torch reads them so.
    tensors = {**{name: count for name, count in own.items() if name.endswith(".num_batches_tracked")}, **tensors}
    shaped = [name for name in own.keys() & tensors.keys() if own[name].shape != tensors[name].shape]
    _refuse(
        [
            *(f"{name} {list(tensors[name].shape)} for {list(own[name].shape)}" for name in sorted(shaped)),
            *(f"{name} missing" for name in own if name not in tensors),
            *(f"{name} unknown" for name in tensors if name not in own),
        ],
        type(module).__name__,
        source,
    )
    module.load_state_dict(tensors)


def _refuse(misfits: Sequence[str], kind: str, source: str) -> None:
    if misfits:
        more = f" and {len(misfits) - _NAMED} more" if len(misfits) > _NAMED else ""
        raise InvalidInput(f"{source}: does not fit {kind}: {', '.join(misfits[:_NAMED])}{more}", hint=_HINT)
