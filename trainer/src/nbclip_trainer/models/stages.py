"""The parameters of a tower by depth: what locking, and learning rates by tower and layer, count by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from nbclip.errors import InvalidInput
from timm.models import group_parameters
from torch import nn

TowerName = Literal["image", "text"]
SCALARS = ("logit_scale", "logit_bias")


@dataclass(frozen=True, slots=True)
class Tower:
    """The names of a tower's parameters, each of them once.

    Attributes:
        name: which tower.
        stages: from the input on: the embeddings or the stem, then block by block; what is above the blocks is with the last one.
        projection: from what the tower computes into the joint space; empty where the tower has none.
    """

    name: TowerName
    stages: tuple[tuple[str, ...], ...]
    projection: tuple[str, ...]

    def depths(self) -> dict[str, int]:
        """How far each parameter is from the top: 0 in the projection, 1 in the last block, most in the embeddings."""
        below = {name: depth for depth, stage in enumerate(reversed(self.stages), 1) for name in stage}
        return {**dict.fromkeys(self.projection, 0), **below}


class _Layout(NamedTuple):
    """How a kind of tower names its parameters, as regular expressions from the names' beginning."""

    projection: str
    block: str
    stem: str


_LAYOUTS: dict[str, _Layout] = {
    "VisionTransformer": _Layout(
        r"proj$", r"transformer\.resblocks\.(\d+)\.", r"conv1\.|class_embedding$|positional_embedding$|ln_pre\."
    ),
    "ModifiedResNet": _Layout(r"attnpool\.c_proj\.", r"layer(\d+)\.(\d+)\.", r"(conv|bn)\d\."),
    "TextTransformer": _Layout(
        r"text_projection\b", r"transformer\.resblocks\.(\d+)\.", r"token_embedding\.|positional_embedding$|cls_emb$"
    ),
    "HFTextEncoder": _Layout(
        r"proj\.", r".*?\b(?:layer|layers|block|h)\.(\d+)\.", r".*(embed|\bwte\b|\bwpe\b|relative_attention)"
    ),
}
"""open_clip's towers by their class; the text tower of its `CLIP`, which lies open in the model, is a TextTransformer's."""
_STEM, _TOP = (-1,), (10**9,)


def tower_of(name: str) -> TowerName | None:
    """The tower that a parameter or module of open_clip's models belongs to; None: logit scale and bias."""
    if name in SCALARS:
        return None
    return "image" if name.partition(".")[0] == "visual" else "text"


def towers_of(model: nn.Module) -> tuple[Tower, Tower]:
    """The image and the text tower by depth.

    Raises:
        InvalidInput: a tower of a kind whose blocks are not known.
    """
    return tower_named(model, "image"), tower_named(model, "text")


def tower_named(model: nn.Module, name: TowerName) -> Tower:
    """One tower by depth; raises InvalidInput as `towers_of`."""
    names = [parameter for parameter, _ in model.named_parameters() if tower_of(parameter) == name]
    tower, prefix = _tower_module(model, name)
    own = [one.removeprefix(prefix) for one in names]
    found = _of_timm(tower, own) if hasattr(tower, "trunk") else _of_layout(tower, own)
    if found is None:
        raise InvalidInput(
            f"model.{name}: the blocks of a {type(getattr(tower, 'trunk', tower)).__name__} are not known",
            hint=f"train it whole, at one learning rate: leave out model.{name}, optim.head_lr and optim.layer_decay",
        )
    places, projection = found
    stages = [[prefix + one for one in own if places.get(one) == place] for place in sorted(set(places.values()))]
    return Tower(name, tuple(map(tuple, stages)), tuple(prefix + one for one in projection))


def _tower_module(model: nn.Module, name: TowerName) -> tuple[nn.Module, str]:
    """A tower and what its parameters' names begin with."""
    attribute = "visual" if name == "image" else "text"
    tower = getattr(model, attribute, None)
    return (tower, f"{attribute}.") if isinstance(tower, nn.Module) else (model, "")


_Found = tuple[Mapping[str, tuple[int, ...]], list[str]]
"""The place of each parameter below the projection, to sort by, and the projection's parameters."""


def _of_layout(tower: nn.Module, names: Iterable[str]) -> _Found | None:
    layout = _LAYOUTS.get("TextTransformer" if hasattr(tower, "token_embedding") else type(tower).__name__)
    if layout is None:
        return None
    projection = [name for name in names if re.match(layout.projection, name)]
    places = {name: _place(name, layout) for name in names if name not in projection}
    last = max((place for place in places.values() if place != _TOP), default=_TOP)
    return {name: last if place == _TOP else place for name, place in places.items()}, projection


def _place(name: str, layout: _Layout) -> tuple[int, ...]:
    if block := re.match(layout.block, name):
        return tuple(int(number) for number in block.groups())
    return _STEM if re.match(layout.stem, name) else _TOP


def _of_timm(tower: Any, names: Iterable[str]) -> _Found | None:
    """Blocks as timm groups them."""
    if not hasattr(tower.trunk, "group_matcher"):
        return None
    layers = group_parameters(tower.trunk, tower.trunk.group_matcher(coarse=False), reverse=True)
    return {f"trunk.{name}": (layer,) for name, layer in layers.items()}, [name for name in names if name.startswith("head.")]
