"""What a tower computes before its projection into the joint space, and that projection.

Shape legend: B images or texts of a batch, E dimensions before the projection, D dimensions of the joint space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nbclip.errors import InvalidInput
from torch import Tensor, nn

Projection = Callable[[Tensor], Tensor]
"""Features before the projection, [B, E], to those in the joint space, [B, D], neither normalised."""


@contextmanager
def unprojected(visual: Any) -> Iterator[Projection | None]:
    """Inside, the image tower returns its features before the projection; yields that projection, None where it has none.

    The three kinds of towers that open_clip has: a vision transformer with the matrix `proj`, a ModifiedResNet whose
    attention pool ends in the linear layer `c_proj`, and a timm trunk with a `head`, which may begin with a pooling layer and
    is empty where the trunk's own classifier projects. Each is put back at the end.

    Raises:
        InvalidInput: the tower is of another kind.
    """
    if hasattr(visual, "proj"):
        with _without(visual, "proj") as project:
            yield project
    elif hasattr(visual, "attnpool"):
        layer = visual.attnpool.c_proj
        with _replaced(visual.attnpool, "c_proj", _identity_like(layer)):
            yield layer
    elif hasattr(visual, "trunk"):
        with _without_head(visual) as project:
            yield project
    else:
        raise InvalidInput(
            f"no projection is known of the image tower {type(visual).__name__}",
            hint="use a vision transformer, a ModifiedResNet or a timm model of open_clip",
        )


@contextmanager
def unprojected_text(model: Any) -> Iterator[Projection | None]:
    """Inside, `encode_text` returns features before the projection; yields that projection, None where none is known.

    open_clip has it in the model itself or in its text tower, as `text_projection`, and in a Hugging Face tower as `proj`.
    """
    owners = (
        (model, "text_projection"),
        (getattr(model, "text", None), "text_projection"),
        (getattr(model, "text", None), "proj"),
    )
    owner, name = next(((owner, name) for owner, name in owners if hasattr(owner, name)), (None, ""))
    if owner is None:
        yield None
        return
    with _without(owner, name) as project:
        yield project


@contextmanager
def _without(owner: nn.Module, name: str) -> Iterator[Projection | None]:
    """Inside, the owner projects nothing; yields its projection, a matrix or a layer, None where it had none."""
    projection = getattr(owner, name)
    if projection is None or isinstance(projection, nn.Identity):
        yield None
    elif isinstance(projection, nn.Parameter):
        with _replaced(owner, name, None):
            yield lambda feature_BE: feature_BE @ projection
    else:
        # A tower asks whether its `text_projection` is there, and calls its `proj` whatever it is.
        with _replaced(owner, name, None if name == "text_projection" else nn.Identity()):
            yield projection


@contextmanager
def _without_head(visual: Any) -> Iterator[Projection | None]:
    """The same for a timm tower."""
    head, classifier = visual.head, visual.trunk.get_classifier()
    pooling = int("pool" in dict(head.named_children()))
    if len(head) > pooling:
        with _replaced(visual, "head", head[:pooling]):
            yield head[pooling:]
    elif pooling or isinstance(classifier, nn.Identity):
        yield None
    else:
        owner, name = next(_places(visual.trunk, classifier))
        with _replaced(owner, name, nn.Identity()):
            yield classifier


def _places(root: nn.Module, part: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The modules that hold a part, and its name there."""
    for module in root.modules():
        yield from ((module, name) for name, child in module.named_children() if child is part)


def _identity_like(layer: nn.Linear) -> nn.Linear:
    """A linear layer that changes nothing; the attention reads weight and bias and never calls the layer."""
    weight = layer.weight
    # On no device at first, since there random weights would be drawn, and the run would go on with other numbers.
    identity = nn.Linear(layer.in_features, layer.in_features, device="meta", dtype=weight.dtype).to_empty(device=weight.device)
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
