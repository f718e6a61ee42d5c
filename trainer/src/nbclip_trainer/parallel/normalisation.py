"""Batch normalisation over the global batch, so that ranks train the model that one process would train.

Shape legend: B images of one rank, C channels, H and W their sides.
"""

from __future__ import annotations

import torch
from nbclip.errors import InvalidInput
from timm.layers.norm_act import convert_sync_batchnorm
from torch import Tensor, nn

from nbclip_trainer.parallel.collectives import gathered
from nbclip_trainer.parallel.world import World

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether the model, in the mode it is in, normalises by statistics of its batch: locked layers don't."""
    return any(isinstance(module, _BATCH_NORMS) and module.training for module in model.modules())


def normalise_over_ranks(model: nn.Module, world: World) -> nn.Module:
    """The model with statistics of the global batch in training; names in its state dict stay.

    On GPUs torch's SyncBatchNorm, which is for GPUs only; else this module's own.

    Raises:
        InvalidInput: on a CPU, a layer of another kind than BatchNorm2d.
    """
    if world.ranks == 1 or not has_batch_norm(model):
        return model
    if world.device.type == "cuda":
        return convert_sync_batchnorm(model)  # type: ignore[no-untyped-call, no-any-return]
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _GlobalBatchNorm2d
            module.world = world  # type: ignore[assignment]
        elif isinstance(module, _BATCH_NORMS) and module.training and not isinstance(module, _GlobalBatchNorm2d):
            raise InvalidInput(f"{type(module).__name__} over several ranks needs GPUs", hint="one process, or another model")
    return model


class _GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all ranks' images, of which each has equally many."""

    world: World

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(pixels_BCHW)
        variance_C, mean_C = torch.var_mean(pixels_BCHW, dim=(0, 2, 3), correction=0)
        variances, means = gathered(torch.stack([variance_C, mean_C])[None], self.world).unbind(dim=1)
        mean_C = means.mean(dim=0)
        variance_C = (variances + (means - mean_C).square()).mean(dim=0)
        self._remember(mean_C, variance_C, self.world.ranks * pixels_BCHW.numel() // len(mean_C))
        scale_C = self.weight * torch.rsqrt(variance_C + self.eps)
        # The mean first: where it is far from 0, x·scale and mean·scale would cancel to noise.
        return (pixels_BCHW - mean_C[:, None, None]) * scale_C[:, None, None] + self.bias[:, None, None]

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        """Moves the running statistics as BatchNorm2d does, whose running variance is the unbiased one."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, momentum)
        self.running_var.lerp_(variance_C * (count / (count - 1)), momentum)
