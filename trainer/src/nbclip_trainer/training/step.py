"""One optimizer step.

Shape legend: N pairs of a global batch, R of this rank's, D embedding dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from nbclip.losses import Cosines, cosines, starting_bias, widened
from torch import Tensor, nn

from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.data.seeds import mixed
from nbclip_trainer.losses.loss import LossInput
from nbclip_trainer.models.building import has_own_bias
from nbclip_trainer.models.locking import set_to_train
from nbclip_trainer.optimisation.optimizer import hold_logit_scale
from nbclip_trainer.optimisation.schedule import learning_rate_factor, set_learning_rates
from nbclip_trainer.parallel.averaging import apart
from nbclip_trainer.parallel.collectives import gathered, mean_over_ranks
from nbclip_trainer.parallel.world import World, autocast
from nbclip_trainer.targets.rows import Targets, target_rows
from nbclip_trainer.targets.source import Answer
from nbclip_trainer.training.figures import StepFigures
from nbclip_trainer.training.gradient_cache import Features, encode
from nbclip_trainer.training.session import Session

_LOWEST_LOSS_SCALE = 1.0
"""Gradients that overflow in fp16 even below this are wrong, not large."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step saw: `figures` for the log, and the batch for diagnostics."""

    figures: StepFigures
    cosine: Cosines
    scale: Tensor
    targets: Targets


def train_step(session: Session, batch: PlannedBatch, images: Tensor, answer: Answer) -> StepResult:
    """Takes one optimizer step; every rank of a run takes it at once, and all end with the same weights.

    Nothing here waits for a GPU. A loss or gradient that is not finite keeps the optimizer from applying this step and any
    after it, on all ranks; reading the step's figures raises the error.

    Args:
        session: model and optimizer, changed in place.
        batch: the global batch.
        images: this rank's, float32, [R, 3, H, W].
        answer: similarities of this rank's rows to the batch, [R, N], or the batch's vectors.

    Returns:
        Figures of the global batch; cosines and targets of this rank's rows.
    """
    model, world, scaler = session.parts.model, session.world, session.scaler
    if not model.training:
        set_to_train(model, session.config.model)
    factor = learning_rate_factor(batch.step, session.plan.steps, session.config.optim)
    set_learning_rates(session.optimizer, factor)
    targets = _targets(session, batch, answer)
    # Before the activations come: else memory would hold both.
    session.optimizer.zero_grad(set_to_none=True)
    features = _encode(session, batch, images)
    image_RD, text_RD = widened(features.image), widened(features.text)
    cosine = cosines(image_RD, text_RD, *_all_features(image_RD, text_RD, world))
    scale, bias = widened(features.scalars[0]), next(iter(features.scalars[1:]), None)
    if bias is not None and batch.step == 0 and not has_own_bias(model):
        with torch.no_grad():
            pairs = torch.stack(
                [of_pairs.double().mean() for of_pairs in (cosine.image_text, session.config.loss.goals(targets))]
            )
            bias.copy_(starting_bias(scale, *mean_over_ranks(pairs, world)))
            model.get_parameter("logit_bias").copy_(bias)
    losses = session.config.loss.compute(LossInput(cosine, scale, bias, targets))
    means = mean_over_ranks(torch.stack([value.double() for value in losses.values()]), world)
    scaler.scale(losses["loss"]).backward()  # type: ignore[no-untyped-call]
    features.carry_on()
    on_device = dict(zip(losses, means.unbind(), strict=True))
    on_device |= _apply_gradients(session, batch, on_device["loss"])
    known = {"learning_rate": factor * session.config.optim.lr, **_scheduled(session, batch)}
    figures = StepFigures(batch.step, lambda: _ids(session, batch), on_device, session.failed, known)
    return StepResult(figures, cosine, scale.detach(), targets)


def forward(session: Session, encoder: nn.Module, images: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    """What an `Encoder` gives of pairs, in whatever precision the towers compute."""
    device = session.world.device
    layout = torch.channels_last if images.ndim == 4 else torch.contiguous_format
    images = images.to(device, memory_format=layout, non_blocking=True)
    tokens = tokens if tokens.is_floating_point() else tokens.long()
    with autocast(session.world, session.config.device):
        return cast(tuple[Tensor, ...], encoder(images, tokens.to(device, non_blocking=True)))


def _encode(session: Session, batch: PlannedBatch, images: Tensor) -> Features:
    """This rank's features. What the towers draw follows from seed, step, rank and chunk, so that it can be drawn again."""
    config, world = session.config, session.world
    tokens = session.train.tokens[world.own(batch.rows)]

    def of_chunk(chunk: slice) -> tuple[Tensor, ...]:
        seed = mixed(config.seed, batch.step, world.rank, chunk.start)
        torch.default_generator.manual_seed(seed)
        if world.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        return forward(session, session.encoder, images[chunk], tokens[chunk])

    return encode(of_chunk, len(tokens), config.device.chunk_size, lambda: apart(session.encoder))


def _all_features(image_RD: Tensor, text_RD: Tensor, world: World) -> tuple[Tensor, Tensor]:
    """Image and text features of the global batch, in one message."""
    if world.ranks == 1:
        return image_RD, text_RD
    image_CD, text_CD = gathered(torch.stack([image_RD, text_RD], dim=1), world).unbind(dim=1)
    return image_CD, text_CD


def _apply_gradients(session: Session, batch: PlannedBatch, loss: Tensor) -> dict[str, Tensor]:
    """Clips and steps. With fp16 a step whose gradients overflowed is left out and the next one's loss scaled less."""
    model, optimizer, scaler = session.parts.model, session.optimizer, session.scaler
    scaler.unscale_(optimizer)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, session.config.optim.clip_norm or math.inf)
    overflowed = ~norm.isfinite()
    # `get_scale` would wait for the device.
    loss_scale = scaler.scale(torch.ones_like(norm))
    too_large = overflowed & (loss_scale < _LOWEST_LOSS_SCALE) if scaler.is_enabled() else overflowed
    session.failed.logical_or_(~loss.isfinite() | too_large)
    # Fused optimizers read it on the device and change nothing where it is 1.
    optimizer.found_inf = (session.failed | overflowed).float()  # type: ignore[attr-defined]
    optimizer.step()
    scaler.update()
    hold_logit_scale(model, session.config.model.logit_scale_max)
    if session.average is not None:
        session.average.update(batch.step + 1)
    figures = {"gradient_norm": norm, "logit_scale": model.get_parameter("logit_scale").detach().exp()}
    return {**figures, **({"loss_scale": scaler.scale(torch.ones_like(norm))} if scaler.is_enabled() else {})}


def _scheduled(session: Session, batch: PlannedBatch) -> dict[str, float]:
    """Where the targets that change are at this step."""
    settings = session.config.targets
    if not settings.scheduled:
        return {}
    now = settings.parameters(batch.step / session.plan.steps)
    return {name: getattr(now, name) for name in settings.scheduled}


def _targets(session: Session, batch: PlannedBatch, answer: Answer) -> Targets:
    world, keys = session.world, session.train.keys
    own_R = world.own_columns(len(batch.rows))
    row_keys_R, column_keys_C = keys[world.own(batch.rows)], keys[batch.rows]
    done = batch.step / session.plan.steps
    return target_rows(answer, own_R, row_keys_R, column_keys_C, session.config.targets, world.device, done)


def _ids(session: Session, batch: PlannedBatch) -> list[str]:
    return session.train.dataset.values("image_id", batch.rows)
