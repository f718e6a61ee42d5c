"""Batches larger than memory: the gradient cache (Gao, Zhang, Han, Callan, RepL4NLP 2021).

A contrastive loss needs the features of the whole batch, so micro-batches can't simply be summed. The cache encodes chunk by
chunk without a graph, takes the loss and its gradient on all features, then encodes each chunk again and carries its
features' gradient into the weights. Activations of one chunk are held at a time; the price is a second forward pass.

Shape legend: R rows (one rank's pairs), D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Forward = Callable[[slice], tuple[Tensor, Tensor]]
"""Image and text features of a chunk of rows. The cache calls it twice: it must draw the same dropout both times."""


class Features(NamedTuple):
    """Features of a rank's rows, [R, D] both; after the loss's backward pass, `carry_on` takes it into the weights."""

    image: Tensor
    text: Tensor
    carry_on: Callable[[], None]


def encode(forward: Forward, rows: int, chunk_size: int | None) -> Features:
    """Encodes `rows` pairs, at most `chunk_size` with their activations; None, or no fewer than `rows`: in one pass."""
    if chunk_size is None or chunk_size >= rows:
        return Features(*forward(slice(0, rows)), carry_on=lambda: None)
    chunks = [slice(start, min(start + chunk_size, rows)) for start in range(0, rows, chunk_size)]
    with torch.no_grad():
        images, texts = zip(*(forward(chunk) for chunk in chunks), strict=True)
    image_RD, text_RD = torch.cat(images).requires_grad_(), torch.cat(texts).requires_grad_()

    def carry_on() -> None:
        if image_RD.grad is None or text_RD.grad is None:
            raise RuntimeError("the loss's backward pass comes first")
        for chunk in chunks:
            torch.autograd.backward(forward(chunk), (image_RD.grad[chunk], text_RD.grad[chunk]))

    return Features(image_RD, text_RD, carry_on)
