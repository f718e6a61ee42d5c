"""What a run is made of, put together from its settings; and how it becomes a checkpoint and comes back from one."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from nbclip_shared.codec import TargetMatrix
from nbclip_shared.errors import InvalidInput
from torch import Tensor

from nbclip_trainer.checkpoint import Checkpoint, part
from nbclip_trainer.config import TrainConfig, config_hash
from nbclip_trainer.data.dataset import Dataset, read_dataset
from nbclip_trainer.data.pictures import Pictures, load_pictures
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.distributed import World, alone
from nbclip_trainer.model import ModelParts, build_model
from nbclip_trainer.optimisation import build_optimizer, optimizer_tensors, restore_optimizer
from nbclip_trainer.targets.rows import caption_keys
from nbclip_trainer.targets.service import ServiceSource, connect
from nbclip_trainer.targets.source import IdentitySource, NoiseSource, TargetSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A split, ready to be trained on.

    Attributes:
        dataset: N pairs whose pictures can be decoded.
        pictures: theirs.
        tokens: token ids of the captions, int32, [N, context length].
        keys: `caption_keys` of the captions, int64, [N].
        bad: `file:line: reason` of the pictures left out.
    """

    dataset: Dataset
    pictures: Pictures
    tokens: Tensor
    keys: Tensor
    bad: list[str]


@dataclass(frozen=True, slots=True)
class Session:
    """A run's parts. `facts` is what `run.json` says of them."""

    config: TrainConfig
    world: World
    parts: ModelParts
    optimizer: torch.optim.Optimizer
    train: Pairs
    valid: Pairs | None
    plan: BatchPlan
    source: TargetSource
    facts: dict[str, Any]

    def matrices(self, plan: Iterable[PlannedBatch]) -> Iterator[TargetMatrix]:
        """Similarities of this rank's rows to the global batch, step by step."""
        ids = self.train.dataset.ids
        for batch in plan:
            yield self.source.fetch([ids[row] for row in self.world.own(batch.rows)], [ids[row] for row in batch.rows])


def build_session(config: TrainConfig, *, resumed: bool = False, snapshot: str | None = None) -> Session:
    """Reads the data, builds model and optimizer, reaches the service.

    Args:
        config: the run's settings.
        resumed: a checkpoint will bring the weights, so pretrained ones are not read.
        snapshot: the one that a resumed run is bound to.

    Raises:
        NBClipError: wrong data or settings, or no service.
    """
    world = alone(config.device)
    if config.device.threads is not None:
        torch.set_num_threads(config.device.threads)
    _seed_everything(config.seed)
    # Data and service are checked before a model is downloaded or built.
    train = _read(config, config.data.train_split)
    valid = _read(config, config.data.valid_split) if config.data.valid_split else None
    with ExitStack() as undo:
        source = _source(config, snapshot)
        undo.callback(source.close)
        target_facts = {"knowledge": config.targets.knowledge, **_checked_coverage(source, train, config)}
        parts = build_model(config, load_weights=not resumed)
        # Channels last makes convolutions a fifth faster, on CPUs and GPUs.
        parts.model.to(world.device).to(memory_format=torch.channels_last)
        train_pairs = _pairs(train, parts, config)
        valid_pairs = None if valid is None else _pairs(valid, parts, config)
        undo.pop_all()
    plan = BatchPlan(len(train_pairs.dataset), config.batch_size, config.epochs, config.seed)
    facts = {"data": {"train": _counts(train_pairs), "valid": _counts(valid_pairs)}, "targets": target_facts, "steps": plan.steps}
    optimizer = build_optimizer(parts.model, config.optim)
    return Session(config, world, parts, optimizer, train_pairs, valid_pairs, plan, source, facts)


def capture(session: Session, step: int, valid_loss: float | None) -> Checkpoint:
    """The run after `step` steps; all that the next step depends on."""
    model = session.parts.model
    state = {f"model.{name}": tensor.cpu() for name, tensor in model.state_dict().items()}
    optimizer = {f"optimizer.{name}": tensor.cpu() for name, tensor in optimizer_tensors(model, session.optimizer).items()}
    numpy_kind, numpy_keys, *numpy_rest = np.random.get_state()  # noqa: NPY002 - libraries may draw from it
    return Checkpoint(
        step,
        {**state, **optimizer, "random.torch": torch.get_rng_state(), **_cuda_state()},
        {
            "epoch": step / session.plan.steps_per_epoch,
            "valid_loss": valid_loss,
            "snapshot": session.facts["targets"].get("snapshot"),
            "config_sha256": config_hash(session.config),
            "random": {"python": random.getstate(), "numpy": [numpy_kind, np.asarray(numpy_keys).tolist(), *numpy_rest]},
        },
    )


def restore(session: Session, checkpoint: Checkpoint) -> None:
    """Puts a session where `capture` found it."""
    session.parts.model.load_state_dict(part(checkpoint.tensors, "model"))
    restore_optimizer(session.parts.model, session.optimizer, part(checkpoint.tensors, "optimizer"))
    version, words, gauss = checkpoint.state["random"]["python"]
    random.setstate((version, tuple(words), gauss))
    np.random.set_state(tuple(checkpoint.state["random"]["numpy"]))  # noqa: NPY002 - as in `capture`
    torch.set_rng_state(checkpoint.tensors["random.torch"])
    if "random.cuda" in checkpoint.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(checkpoint.tensors["random.cuda"])


def _read(config: TrainConfig, split: str | None) -> Dataset:
    return read_dataset(config.data.csv, split, columns=config.data.columns.model_dump())


def _pairs(dataset: Dataset, parts: ModelParts, config: TrainConfig) -> Pairs:
    loaded = load_pictures(dataset, parts.picture, config)
    for bad in loaded.bad:
        _log.warning("left out: %s", bad)
    captions = loaded.dataset.captions
    return Pairs(loaded.dataset, loaded.pictures, parts.tokenizer(captions).int(), caption_keys(captions), loaded.bad)


def _source(config: TrainConfig, snapshot: str | None) -> TargetSource:
    targets = config.targets
    if targets.needs_service:
        return connect(config.service, targets if snapshot is None else targets.model_copy(update={"snapshot": snapshot}))
    if targets.knowledge == "noise":
        return NoiseSource(config.seed, targets.noise == "per_step")
    return IdentitySource()


def _checked_coverage(source: TargetSource, train: Dataset, config: TrainConfig) -> dict[str, Any]:
    """Refuses a snapshot that lacks training images: better now than in the middle of an epoch."""
    if not isinstance(source, ServiceSource):
        return {}
    coverage = source.coverage(train.ids)
    if coverage.unknown:
        raise InvalidInput(
            f"snapshot {source.snapshot.id:.12} lacks {len(coverage.unknown)} of {len(train)} training images: "
            f"{', '.join(coverage.unknown[:20])}",
            hint="kg-service ingest them, then kg-service snapshot publish",
        )
    manifest = source.snapshot.manifest
    if manifest.split != config.data.train_split:
        _log.warning(
            "snapshot %.12s was published of split %r, not of %r: its statistics saw pictures that are not trained on",
            source.snapshot.id,
            manifest.split,
            config.data.train_split,
        )
    return {
        "snapshot": source.snapshot.id,
        "without_knowledge": coverage.without_knowledge,
        "vocabulary": manifest.vocabulary,
        "variants": manifest.variants,
    }


def _counts(pairs: Pairs | None) -> dict[str, Any] | None:
    if pairs is None:
        return None
    return {"pairs": len(pairs.dataset), "sha256": pairs.dataset.digest(), "left_out": pairs.bad}


def _cuda_state() -> dict[str, Tensor]:
    return {"random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries may draw from it
    torch.manual_seed(seed)
