"""Batches larger than memory: the gradient cache (Gao, Zhang, Han, Callan, RepL4NLP 2021).

A contrastive loss needs the features of the whole batch, so micro-batches can't simply be summed. The cache encodes chunk by
chunk without a graph, takes the loss and its gradient on all features, then encodes each chunk again and carries its
features' gradient into the weights. Activations of one chunk are held at a time; the price is a second forward pass.

Shape legend: R rows (one rank's pairs), D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

Forward = Callable[[slice], tuple[Tensor, ...]]
"""Image and text features of a chunk of rows, then scalars that no row changes, such as exp(logit_scale).

The cache calls it twice: it must draw the same dropout both times."""


class Features(NamedTuple):
    """Features of a rank's rows, [R, D] both, and what else the forward pass gave: the loss's backward pass ends at them.

    After it, `carry_on` takes their gradients into the weights.
    """

    image: Tensor
    text: Tensor
    scalars: tuple[Tensor, ...]
    carry_on: Callable[[], None]


def encode(
    forward: Forward,
    rows: int,
    chunk_size: int | None,
    apart: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Features:
    """Encodes `rows` pairs, at most `chunk_size` with their activations; None, or no fewer than `rows`: in one pass.

    `apart` is entered around the backward pass of every chunk but the last: ranks exchange gradients once, not for each chunk.
    """
    size = rows if chunk_size is None else min(chunk_size, rows)
    chunks = [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
    at_once = len(chunks) == 1
    with torch.set_grad_enabled(at_once):
        encoded = [forward(chunk) for chunk in chunks]
    image_RD, text_RD = (torch.cat([out[side] for out in encoded]).detach().requires_grad_() for side in (0, 1))
    scalars = tuple(scalar.detach().requires_grad_() for scalar in encoded[-1][2:])

    def carry_on() -> None:
        for chunk in chunks:
            last = chunk is chunks[-1]
            with nullcontext() if last else apart():
                outputs = encoded[0] if at_once else forward(chunk)
                gradients = [_gradient(image_RD)[chunk], _gradient(text_RD)[chunk]]
                if last:
                    gradients += [_gradient(scalar) for scalar in scalars]
                # What is locked has no gradient to take on.
                pairs = [pair for pair in zip(outputs, gradients, strict=False) if pair[0].requires_grad]
                torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])

    return Features(image_RD, text_RD, scalars, carry_on)


def _gradient(leaf: Tensor) -> Tensor:
    """What the loss gave it; zeros where the loss did not look at it, so that every rank's parameters take part alike."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
