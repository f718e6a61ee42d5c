"""A step's figures on their way from the device to memory, so that no step waits for its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from nbclip_trainer.errors import NonFiniteLoss


class StepFigures:
    """What a step computed, read once the device has come that far."""

    def __init__(
        self,
        step: int,
        image_ids: Callable[[], list[str]],
        on_device: Mapping[str, Tensor],
        failed: Tensor,
        known: Mapping[str, float],
    ) -> None:
        """Queues the copy to memory.

        Args:
            step: counted from 0.
            image_ids: the batch's, which the message of a step that failed names.
            on_device: scalars of any dtype, among them `loss` and `gradient_norm`.
            failed: bool scalar, whether the step was left out because one of these two is not finite.
            known: figures that need no device.
        """
        self._step, self._image_ids, self._names, self._known = step, image_ids, list(on_device), dict(known)
        values = torch.stack([failed.double(), *(value.detach().double() for value in on_device.values())])
        # From a GPU this is a copy into pinned memory, which the event ends.
        self._values = values.to("cpu", non_blocking=True)
        self._arrived = torch.cuda.current_stream(values.device).record_event() if values.is_cuda else None

    def read(self) -> dict[str, float]:
        """The figures; waits for this step, and not for what was queued after it.

        Raises:
            NonFiniteLoss: loss or gradient norm was not finite; the step was not applied, nor any after it.
        """
        if self._arrived is not None:
            self._arrived.synchronize()
        failed, *values = self._values.tolist()
        figures = dict(zip(self._names, values, strict=True)) | self._known
        if failed:
            raise self._failure(figures)
        return figures

    def _failure(self, figures: Mapping[str, float]) -> NonFiniteLoss:
        # A gathered feature that is not finite makes every rank's loss so: which rank had it can't be told from here.
        name = "gradient_norm" if math.isfinite(figures["loss"]) else "loss"
        return NonFiniteLoss(
            f"step {self._step + 1}: {name.replace('_', ' ')} is {figures[name]}, nothing was applied; "
            f"its images: {', '.join(self._image_ids())}",
            hint="lower optim.lr, look at the images, or resume with device.precision=fp32",
        )
