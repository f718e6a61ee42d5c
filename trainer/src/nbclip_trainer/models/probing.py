"""What one pass over pairs of zeros tells of a model: how much it computes, and which of its weights no feature depends on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nbclip_trainer.parallel.averaging import Encoder, Example, plain


class Probed(NamedTuple):
    """Of a model as it is trained.

    Attributes:
        flops_of_a_pair: floating-point operations of the forward and backward pass; what is computed twice counts once, and
            locked weights, which need no gradient, add none.
        idle: names of weights that would be trained, but that nothing which the model gives depends on.
    """

    flops_of_a_pair: int
    idle: tuple[str, ...]


def probe(model: nn.Module, pairs: Example) -> Probed:
    """Takes a pass with gradients; leaves weights, statistics and torch's random state as they were, and no gradient.

    Args:
        model: what is trained, of open_clip's kind.
        pairs: zeros in the shapes of its input.
    """
    encoder = Encoder(model)
    with plain(encoder), FlopCounterMode(display=False) as counter, _countable():
        outputs = [output for output in encoder(*pairs) if output.requires_grad]
        torch.autograd.backward(outputs, [torch.zeros_like(output) for output in outputs])
    idle = tuple(name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None)
    model.zero_grad(set_to_none=True)
    return Probed(counter.get_total_flops() // len(pairs[0]), idle)


@contextmanager
def _countable() -> Iterator[None]:
    """Attention as products of matrices: the counter does not know all kernels of it."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
