"""The model as a step calls it: after its backward pass every rank has the mean of all ranks' gradients."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nbclip_trainer.parallel.world import World

Example = tuple[Tensor, Tensor]
"""Images and tokens of some pairs."""


class Encoder(nn.Module):
    """A model whose one forward pass gives all that a loss is computed from, so that all gradients start from what it gives."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_B3HW: Tensor, tokens_BL: Tensor) -> tuple[Tensor, ...]:
        """L2-normalised image and text features, [B, D] both, exp(logit_scale) and, where the model has one, the logit bias."""
        out = self.model(images_B3HW, tokens_BL)
        bias = out.get("logit_bias")
        return out["image_features"], out["text_features"], out["logit_scale"], *(() if bias is None else (bias.clone(),))


def averaging(model: nn.Module, world: World, pairs: Example) -> nn.Module:
    """The model's `Encoder`; with several ranks its backward pass averages gradients while it still computes others.

    What is locked by then is left out; every other weight must get a gradient in each step.

    Args:
        model: the same on every rank.
        world: this rank's place.
        pairs: what the model takes, any values.
    """
    encoder = Encoder(model)
    if world.ranks == 1:
        return encoder
    # Statistics of batches are of the global batch, and so the same everywhere: they need not be sent before each step.
    with warnings.catch_warnings():
        # torch 2.15 names it anew; that name is unknown to the versions before.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        averaged = DistributedDataParallel(encoder, gradient_as_bucket_view=True, broadcast_buffers=False)
    # After the first backward pass DDP changes its buckets, and with them the order in which three ranks add. If that were a
    # step of the run, a resumed one would not be bit for bit the same.
    with plain(encoder):
        outputs = [output for output in averaged(*pairs) if output.requires_grad]
        torch.autograd.backward(outputs, [torch.zeros_like(output) for output in outputs])
    model.zero_grad(set_to_none=True)
    return averaged


def apart(module: nn.Module) -> AbstractContextManager[None]:
    """A block whose backward passes average nothing yet: what they find is averaged with the next one outside."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


@contextmanager
def plain(model: nn.Module) -> Iterator[None]:
    """A block in which the model draws nothing at random, asks other ranks for no statistics, keeps none, and is not compiled."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.compiler.set_stance("force_eager"), torch.enable_grad():
            yield
    finally:
        for module in training:
            module.training = True
