"""What a run is made of, put together from its settings."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nbclip.errors import InvalidInput
from torch import Tensor, nn

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.checking import note_on_frames
from nbclip_trainer.data.dataset import BAD_ROWS_NAMED, Dataset
from nbclip_trainer.data.filtering import narrowed
from nbclip_trainer.data.images import Images
from nbclip_trainer.data.labels import SCORED_SPLIT, unscorable, without_labels
from nbclip_trainer.data.leaks import settled, shared_between_splits
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.models.building import ModelParts, build_model, prepared
from nbclip_trainer.models.captions import ByRow, Cut, keys_of
from nbclip_trainer.models.locking import trained_share
from nbclip_trainer.optimisation.average import WeightAverage
from nbclip_trainer.optimisation.optimizer import build_optimizer
from nbclip_trainer.parallel.collectives import copy_from_first, from_first, on_any_rank
from nbclip_trainer.parallel.world import World, alone
from nbclip_trainer.runs.folder import same_data
from nbclip_trainer.runs.quarantine import Quarantined
from nbclip_trainer.targets.source import Answer, TargetSource
from nbclip_trainer.training.features import cached
from nbclip_trainer.training.network import encoder_of, example, network_of, start_projections
from nbclip_trainer.training.quarantine import Quarantine
from nbclip_trainer.training.sight import look
from nbclip_trainer.training.sources import open_source

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A split, ready to be trained on.

    Attributes:
        dataset: N pairs.
        images: theirs; with `data.features` what the image tower computes of them.
        tokens: token ids of the captions, int32, [N, context length]; with `data.features` what the text tower computes of them.
        keys: `caption_keys` of the captions, int64, [N].
        quarantine: which of them are left out, since their images can't be decoded.
        cut: how many captions are longer than that.
        notes: what else is to be known of them, a sentence each.
    """

    dataset: Dataset
    images: Images
    tokens: ByRow
    keys: ByRow
    quarantine: Quarantine
    cut: Cut
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> list[int]:
        """Rows that are not left out."""
        return [row for row in range(len(self.dataset)) if row not in self.quarantine.bad]


@dataclass(frozen=True, slots=True)
class Session:
    """A run's parts.

    Attributes:
        network: what is trained: the model, or with `data.features` what of it is above the towers.
        encoder: the network as a step calls it, of `parallel.averaging`.
        flops_of_a_pair: floating-point operations of its forward and backward pass.
        failed: bool scalar on the device, true once a loss or gradient was not finite: from then on no step is applied.
        facts: what `run.json` says of them.
    """

    config: TrainConfig
    world: World
    parts: ModelParts
    network: nn.Module
    encoder: nn.Module
    flops_of_a_pair: int
    optimizer: torch.optim.Optimizer
    train: Pairs
    valid: Pairs | None
    plan: BatchPlan
    source: TargetSource
    scaler: torch.amp.GradScaler
    failed: Tensor
    average: WeightAverage | None
    facts: dict[str, Any]

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the model has its averaged weights, if the run keeps any."""
        return nullcontext() if self.average is None else self.average.applied()

    def answer(self, batch: PlannedBatch) -> Answer:
        """Similarities of this rank's rows to the global batch, or what they are made of."""
        own, whole = (self.train.dataset.values("image_id", rows) for rows in (self.world.own(batch.rows), batch.rows))
        return self.source.fetch(own, whole)


def build_session(
    config: TrainConfig,
    *,
    world: World | None = None,
    weights: Mapping[str, Tensor] | None = None,
    snapshot: str | None = None,
    quarantined: Sequence[Quarantined] = (),
    kept: Path | None = None,
) -> Session:
    """Reads the data, builds model and optimizer, reaches the service.

    Args:
        config: the run's settings.
        world: this rank's place; None: a single process.
        weights: of a resumed run's model, in the place of those that it began with. Towers' features follow from them.
        snapshot: the one that a resumed run is bound to.
        quarantined: images that a resumed run leaves out.
        kept: where a resumed run keeps its model without weights (`write_model`).

    Raises:
        NBClipError: wrong data or settings, leaks, too many bad images, or no service.
    """
    world = world or alone(config.device)
    world.check_divides(config.batch_size)
    if config.device.threads is not None:
        torch.set_num_threads(config.device.threads)
    _seed_everything(config.seed)
    # Data and service are checked before a model is downloaded or built.
    whole = _read(config)
    leaks = settled(
        shared_between_splits(whole) if config.data.train_split else [],
        allowed=config.data.allow_leaks,
        way_out="put each group and image into one split",
    )
    if world.leads and without_labels(whole, SCORED_SPLIT):
        _log.warning("%s", unscorable(whole))
    train = narrowed(whole.of_split(config.data.train_split), config.data)
    valid = narrowed(whole.of_split(config.data.valid_split), config.data, known=whole) if config.data.valid_split else None
    with ExitStack() as undo:
        source, coverage = open_source(config, snapshot, train, whole, world)
        undo.callback(source.close)
        parts = _model(config, world, kept, weights)
        if world.leads and config.towers_repeat and config.data.features is None:
            _log.warning("both towers are locked and see the same views again: data.features=FOLDER computes their features once")
        train_pairs = _pairs(train, parts, config, world, quarantined, config.augmentation.views or 0)
        valid_pairs = None if valid is None else _pairs(valid, parts, config, world, quarantined)
        for split, pairs in ((config.data.train_split, train_pairs), (config.data.valid_split, valid_pairs)):
            for note in () if pairs is None else pairs.notes:
                _log.warning("%s%s", f"split {split}: " if split else "", note)
        data_facts = {"train": _counts(train_pairs), "valid": _counts(valid_pairs)}
        _check_same_everywhere(data_facts, world)
        undo.pop_all()
    plan = BatchPlan(len(train_pairs.dataset), config.batch_size, config.epochs, config.seed)
    leaks += coverage.pop("leaks")
    target_facts = {"knowledge": config.targets.knowledge, **coverage}
    bad_rows = {"count": len(whole.bad_rows), "first": list(whole.bad_rows[:BAD_ROWS_NAMED])}
    facts = {"data": data_facts, "bad_rows": bad_rows, "targets": target_facts, "leaks": leaks}
    facts |= {"parameters": trained_share(parts.model), "steps": plan.steps, "ranks": world.ranks}
    network = network_of(parts.model, config)
    if weights is None:
        start_projections(parts.model, train_pairs.images, train_pairs.tokens, train_pairs.good, config.model, world)
    zeros = example(parts, train_pairs.images, train_pairs.tokens, world.device)
    encoder, flops = encoder_of(network, zeros, world)
    optimizer = build_optimizer(parts.model, config.optim)
    scaler = torch.amp.GradScaler(world.device.type, enabled=config.device.precision == "fp16")
    failed = torch.zeros((), dtype=torch.bool, device=world.device)
    average = None if config.optim.ema_decay is None else WeightAverage(parts.model, config.optim.ema_decay)
    return Session(
        config, world, parts, network, encoder, flops, optimizer, train_pairs, valid_pairs, plan, source, scaler,
        failed, average, facts,
    )  # fmt: skip


def _model(config: TrainConfig, world: World, kept: Path | None, weights: Mapping[str, Tensor] | None) -> ModelParts:
    # Rank 0's weights go to all, so the others need not read or download them.
    load_weights = world.leads and weights is None
    parts = build_model(config.model, seed=config.seed, with_bias=config.loss.has_bias, load_weights=load_weights, kept=kept)
    # Channels last makes convolutions a fifth faster, on CPUs and GPUs.
    parts.model.to(world.device).to(memory_format=torch.channels_last)
    parts = parts._replace(model=prepared(parts.model, config.model, config.device, world))
    if weights is not None:
        parts.model.load_state_dict(weights)
    copy_from_first(parts.model, world)
    return parts


def _read(config: TrainConfig) -> Dataset:
    """All rows of the data that can be used; names the others."""
    dataset = open_dataset(config.data)
    dataset.warn_of_bad_rows()
    return dataset


def _pairs(
    dataset: Dataset, parts: ModelParts, config: TrainConfig, world: World, known: Sequence[Quarantined], views: int = 0
) -> Pairs:
    features = config.data.features
    seen = look(dataset, parts, config) if features is None else cached(dataset, parts, config, features, world, views)
    quarantine = Quarantine(dataset, config.data.max_bad_share, world, known)
    quarantine.add(seen.bad, 0)
    notes = tuple(filter(None, (note_on_frames(dataset, seen.frames), str(seen.cut))))
    return Pairs(dataset, seen.images, seen.texts, keys_of(dataset), quarantine, seen.cut, notes)


def _check_same_everywhere(data_facts: dict[str, Any], world: World) -> None:
    """Ranks that read other pairs would plan other batches."""
    own = same_data(data_facts)
    same = from_first(own, world) == own
    if on_any_rank(not same, world):
        raise InvalidInput(
            f"{'another' if same else 'this'} rank reads other pairs than rank 0",
            hint="every rank needs the same files at data.files",
        )


def _counts(pairs: Pairs | None) -> dict[str, Any] | None:
    if pairs is None:
        return None
    return {"pairs": len(pairs.dataset), "sha256": pairs.dataset.digest(), "captions_cut": asdict(pairs.cut)}


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries may draw from it
    torch.manual_seed(seed)
