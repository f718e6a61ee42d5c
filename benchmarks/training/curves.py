"""The InfoNCE loss of our steps beside that of open_clip_train's own loop: same weights, same batches; as JSON.

    python benchmarks/training/curves.py --preset tiny-clip --data metadata.csv --set batch_size=64

Ours is `train_step` with the preset's settings; theirs is `train_one_epoch` with open_clip_train's loss, schedule and optimizer,
and the model laid out in memory as open_clip lays it out. What dropout draws is drawn from the same seeds.
"""

from __future__ import annotations

import argparse
import copy
import json
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import open_clip
import torch
from nbclip_trainer.config.reading import load_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.data.seeds import mixed
from nbclip_trainer.optimisation.schedule import warmup_steps
from nbclip_trainer.training.session import Session, build_session
from nbclip_trainer.training.step import train_step
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from torch import Tensor, nn

# The preset `small` has another rate for the scale, which open_clip_train can't have.
_COMPARABLE = ("data.valid_split=null", "optim.logit_scale_lr=null", "device.name=cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny-clip")
    parser.add_argument("--data", type=Path, required=True, help="pairs, as `nbclip train` reads them")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument(
        "--double", action="store_true", help="in float64, where rounding can't grow into a difference that is seen"
    )
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    config = load_config(arguments.preset, [f"data.files=['{arguments.data.resolve()}']", *_COMPARABLE, *arguments.settings])
    print(json.dumps(curves(config, arguments.steps, double=arguments.double)))


def curves(config: TrainConfig, steps: int, *, double: bool) -> dict[str, list[float]]:
    """The loss at each step: `ours`, `theirs`, and `theirs, channels last`, which says what rounding alone does."""
    session = build_session(config)
    if double:
        session.parts.model.double()
    # Before ours changes it.
    models = [
        copy.deepcopy(session.parts.model).to(memory_format=layout) for layout in (torch.contiguous_format, torch.channels_last)
    ]
    ours = _ours(session, steps)
    theirs = (_theirs(session, model, steps) for model in models)
    return {"ours": ours, "theirs": next(theirs), **({} if double else {"theirs, channels last": next(theirs)})}


def _ours(session: Session, steps: int) -> list[float]:
    return [
        train_step(session, batch, images, session.answer(batch)).figures.read()["loss"]
        for batch, images in _batches(session, steps)
    ]


def _theirs(session: Session, model: nn.Module, steps: int) -> list[float]:
    optim, loss = session.config.optim, _Recorded()
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        # As in open_clip_train.main.
        exempt = parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (others if exempt else decayed).append(parameter)
    groups = [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": optim.weight_decay}]
    optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps)
    scheduler = cosine_lr(optimizer, optim.lr, warmup_steps(session.plan.steps, optim), session.plan.steps)
    arguments = Namespace(
        device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=False, horovod=False, rank=0, world_size=1,
        grad_clip_norm=optim.clip_norm, log_every_n_steps=steps, batch_size=session.config.batch_size, wandb=False,
    )  # fmt: skip
    data = {"train": _Data(session, steps)}
    train_one_epoch(model, data, loss, 0, optimizer, None, scheduler, None, arguments)
    return loss.values


class _Recorded(open_clip.ClipLoss):
    """open_clip's loss, which remembers what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def forward(self, *features: Tensor, **named: Tensor) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = super().forward(*features, **named)
        self.values.append(losses["contrastive_loss"].item())
        return losses


@dataclass(frozen=True, slots=True)
class _Data:
    """A session's batches, as `train_one_epoch` asks for them."""

    session: Session
    num_batches: int

    @property
    def dataloader(self) -> _Data:
        return self

    @property
    def num_samples(self) -> int:
        return self.num_batches * self.session.config.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Its batches are of all epochs."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch, images in _batches(self.session, self.num_batches):
            torch.manual_seed(mixed(self.session.config.seed, batch.step, 0, 0))
            yield images, self.session.train.tokens[batch.rows].long()


def _batches(session: Session, steps: int) -> Iterator[tuple[PlannedBatch, Tensor]]:
    if steps > session.plan.steps:
        raise SystemExit(f"a run of {session.plan.steps} steps has no {steps}: set more epochs")
    decoded = session.train.images.training(session.plan.batches())
    for batch in islice(session.plan.batches(), steps):
        yield batch, next(decoded).pixels.to(session.parts.model.get_parameter("logit_scale").dtype)


if __name__ == "__main__":
    main()
