"""Low-rank adapters (LoRA; Hu et al., ICLR 2022) of a tower's linear layers, by peft.

In open_clip's own attention queries, keys and values are one matrix that no layer applies. It is adapted by peft's wrapper of
parameters: peft's layer for `nn.MultiheadAttention` adds the adapter to the weights and subtracts it again in each forward pass,
which rounds the locked weights anew each time, and apart on each rank. The attention's output matrix can't be adapted.
"""

from __future__ import annotations

from importlib.util import find_spec

from nbclip.errors import InvalidInput
from torch import nn

from nbclip_trainer.models.settings import LoraSettings, ModelSettings
from nbclip_trainer.models.stages import TowerName, tower_named, tower_of

ADAPTER = ".lora_"
"""In the names of an adapter's parts, and of nothing else."""
_ATTENTION = "in_proj"


def adapt(model: nn.Module, settings: ModelSettings) -> None:
    """Puts adapters into the towers that have `lora` settings; they change nothing yet. Draws from torch's generator.

    Raises:
        InvalidInput: peft is not installed, or a tower lacks the layers.
    """
    for name, tower in settings.towers():
        if tower.lora is not None:
            _check_installed(name)
            _adapt_tower(model, name, tower.lora)


def merge(model: nn.Module) -> nn.Module:
    """The model with its adapters added to the weights they adapt: open_clip's plain model, with its parameters' own names."""
    if not any(ADAPTER in name for name, _ in model.named_parameters()):
        return model
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, layer.get_base_layer())
    return model


def _check_installed(name: TowerName) -> None:
    if find_spec("peft") is None:
        raise InvalidInput(
            f"model.{name}.lora needs peft, which is not installed", hint="uv pip install 'nbclip-trainer[lora]', or leave it out"
        )


def _adapt_tower(model: nn.Module, name: TowerName, settings: LoraSettings) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    linear, attention = _layers(model, name)
    chosen, chosen_attention = (_chosen(paths, settings) for paths in (linear, attention))
    if missing := set(settings.layers or ()) - {_kind(path) for path in (*linear, *attention)}:
        there = ", ".join(sorted({_kind(path) for path in (*linear, *attention)})) or "none"
        raise InvalidInput(f"model.{name}.lora.layers: no layer {min(missing)!r}", hint=f"there are: {there}")
    if not chosen and not chosen_attention:
        raise InvalidInput(f"model.{name}.lora: the tower's blocks have no linear layers", hint=f"leave out model.{name}.lora")
    if chosen_attention and settings.dropout:
        raise InvalidInput(
            f"model.{name}.lora.dropout={settings.dropout:g}: not possible in {_ATTENTION}, which is one matrix",
            hint=f"set it to 0, or choose others in model.{name}.lora.layers",
        )
    trains = {parameter: parameter.requires_grad for parameter in model.parameters()}
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=chosen,
        target_parameters=[f"{path}_weight" for path in chosen_attention] or None,
    )
    # peft takes what has a `config` for a whole model of transformers.
    parts = {part: module for part, module in model.named_children() if tower_of(part) == name}
    inject_adapter_in_model(config, nn.ModuleDict(parts))
    for parameter, trained in trains.items():
        parameter.requires_grad_(trained)


def _layers(model: nn.Module, name: TowerName) -> tuple[list[str], list[str]]:
    """Paths of the linear layers in a tower's blocks, and of the attentions' one matrix."""
    below = {parameter for stage in tower_named(model, name).stages for parameter in stage}
    modules = dict(model.named_modules())
    linear = [
        path
        for path, module in modules.items()
        if isinstance(module, nn.Linear) and f"{path}.weight" in below and not _weights_alone(modules, path)
    ]
    attention = [
        f"{path}.{_ATTENTION}"
        for path, module in modules.items()
        if isinstance(module, nn.MultiheadAttention) and f"{path}.{_ATTENTION}_weight" in below
    ]
    return linear, attention


def _weights_alone(modules: dict[str, nn.Module], path: str) -> bool:
    """Whether the layer is never called, since its weights are handed to torch's attention: an adapter would do nothing."""
    parent = path.rpartition(".")[0]
    return isinstance(modules[parent], nn.MultiheadAttention) or parent.endswith("attnpool")


def _chosen(paths: list[str], settings: LoraSettings) -> list[str]:
    return [path for path in paths if settings.layers is None or _kind(path) in settings.layers]


def _kind(path: str) -> str:
    """A layer's name within its block, such as `c_fc` or `query`."""
    return path.rpartition(".")[2]
