"""An exponential moving average of a model's weights (Polyak & Juditsky, 1992), which often scores better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """The average of what trains, and of the statistics of batch normalisation; begins as the model is.

    Attributes:
        tensors: by the name in the model's state dict, each shaped as there.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """`decay`, in (0, 1), is how much of the average a step keeps once the warm-up is over."""
        locked = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self._decay = decay
        self._live: dict[str, Tensor] = {
            name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point() and name not in locked
        }
        self.tensors = {name: tensor.clone() for name, tensor in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after `step` steps: average ← d·average + (1 − d)·weights."""
        update = get_ema_multi_avg_fn(decay_at(step, self._decay))  # type: ignore[no-untyped-call]
        update(list(self.tensors.values()), list(self._live.values()), step)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` was."""
        for name, tensor in self.tensors.items():
            tensor.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, live in self._live.items():
            held = live.clone()
            live.copy_(self.tensors[name])
            self.tensors[name].copy_(held)


def decay_at(step: int, decay: float) -> float:
    """min(decay, (1 + step) / (10 + step)): a young average forgets its beginning faster (TensorFlow's `num_updates`)."""
    return min(decay, (1 + step) / (10 + step))
