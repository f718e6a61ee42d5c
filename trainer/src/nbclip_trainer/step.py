"""One optimizer step, and the validation loss.

Shape legend: N pairs of a global batch, R of this rank's, D embedding dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from nbclip_shared.codec import TargetMatrix
from torch import Tensor
from torch.nn import functional

from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.distributed import autocast
from nbclip_trainer.errors import NonFiniteLoss
from nbclip_trainer.losses import compute_loss
from nbclip_trainer.losses.cosines import Cosines, cosines
from nbclip_trainer.losses.sigmoid import starting_bias
from nbclip_trainer.optimisation import hold_logit_scale, learning_rate_factor, set_learning_rates
from nbclip_trainer.session import Pairs, Session
from nbclip_trainer.targets.rows import Targets, target_rows


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step saw: `figures` for the log, and the batch for diagnostics."""

    figures: dict[str, float]
    cosine: Cosines
    scale: Tensor
    targets: Targets


def train_step(session: Session, batch: PlannedBatch, pictures: Tensor, matrix: TargetMatrix) -> StepResult:
    """Takes one optimizer step.

    Args:
        session: model and optimizer, changed in place.
        batch: the global batch.
        pictures: this rank's, float32, [R, 3, H, W].
        matrix: similarities of this rank's rows to the batch, [R, N].

    Raises:
        NonFiniteLoss: before the optimizer's step, naming step and images.
    """
    model, optimizer = session.parts.model, session.optimizer
    model.train()
    factor = learning_rate_factor(batch.step, session.plan.steps, session.config.optim)
    set_learning_rates(optimizer, factor)
    targets = _targets(session, batch, matrix)
    cosine, scale, bias = _forward(session, pictures, session.world.own(batch.rows), session.train)
    if bias is not None and batch.step == 0:
        with torch.no_grad():
            bias.copy_(starting_bias(cosine, scale, targets))
    losses = compute_loss(cosine, scale, bias, targets, session.config.loss)
    figures = {name: value.item() for name, value in losses.items()}
    _check_finite("loss", figures["loss"], session, batch)
    optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), session.config.optim.clip_norm or math.inf).item()
    _check_finite("gradient norm", norm, session, batch)
    optimizer.step()
    hold_logit_scale(model)
    figures |= {"learning_rate": factor * session.config.optim.lr, "gradient_norm": norm}
    return StepResult(figures, cosine, scale.detach(), targets)


@torch.no_grad()
def validation_loss(session: Session, pairs: Pairs) -> float:
    """Mean InfoNCE over full batches in file order (one smaller batch if there is no full one), at the model's own scale.

    Always InfoNCE, so that runs with other losses compare.
    """
    session.parts.model.eval()
    size = min(session.config.batch_size, len(pairs.dataset))
    batches = [range(start, start + size) for start in range(0, len(pairs.dataset) - size + 1, size)]
    losses = []
    for rows, pictures in zip(batches, pairs.pictures.plain(batches), strict=True):
        cosine, scale, _ = _forward(session, pictures, rows, pairs)
        own_R = torch.arange(size, device=session.world.device)
        both = (functional.cross_entropy(scale * cosine_RC, own_R) for cosine_RC in (cosine.image_text, cosine.text_image))
        losses.append(sum(loss.item() for loss in both) / 2)
    return sum(losses) / len(losses)


def _forward(
    session: Session, pictures: Tensor, rows: Sequence[int] | npt.NDArray[np.int64], pairs: Pairs
) -> tuple[Cosines, Tensor, Tensor | None]:
    """Cosines, s and b. A run of several ranks gathers the features of all between the two calls here."""
    device = session.world.device
    tokens = pairs.tokens[list(rows)].long().to(device, non_blocking=True)
    with autocast(session.world, session.config.device):
        out = session.parts.model(pictures.to(device, memory_format=torch.channels_last, non_blocking=True), tokens)
    image_RD, text_RD = out["image_features"], out["text_features"]
    return cosines(image_RD, text_RD, image_RD, text_RD), out["logit_scale"].float(), out.get("logit_bias")


def _targets(session: Session, batch: PlannedBatch, matrix: TargetMatrix) -> Targets:
    world, keys = session.world, session.train.keys
    own_R = world.own_columns(len(batch.rows))
    row_keys_R, column_keys_C = keys[world.own(batch.rows)], keys[batch.rows]
    return target_rows(matrix, own_R, row_keys_R, column_keys_C, session.config.targets, world.device)


def _check_finite(what: str, value: float, session: Session, batch: PlannedBatch) -> None:
    if math.isfinite(value):
        return
    ids = [session.train.dataset.ids[row] for row in session.world.own(batch.rows)]
    raise NonFiniteLoss(
        f"step {batch.step + 1}: {what} is {value}, nothing was applied; its images: {', '.join(ids)}",
        hint="lower optim.lr, look at the pictures, or resume with device.precision=fp32",
    )
