"""Where a run's similarities come from, as its settings say, and what is known of its images there."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from nbclip.errors import InvalidInput

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.indexed import remembered
from nbclip_trainer.data.leaks import settled
from nbclip_trainer.parallel.collectives import from_first
from nbclip_trainer.parallel.world import World
from nbclip_trainer.targets.labels import LabelSource
from nbclip_trainer.targets.service import ServiceSource, connect
from nbclip_trainer.targets.snapshot import SnapshotSource
from nbclip_trainer.targets.source import IdentitySource, NoiseSource, TargetSource

_MULTIPLIED_FROM = 1_024


def open_source(
    config: TrainConfig, snapshot: str | None, train: Dataset, whole: Dataset, world: World
) -> tuple[TargetSource, dict[str, Any]]:
    """This rank's source of similarities, and its facts.

    Rank 0 pins the snapshot and looks all images up in it; the others take its word.

    Args:
        config: the run's settings.
        snapshot: the one that a resumed run is bound to.
        train: the training pairs.
        whole: the pairs of all splits.
        world: this rank's place.

    Raises:
        NBClipError: no service, no such snapshot, one that lacks training images, or one that has seen others.
    """
    with ExitStack() as undo:
        facts: dict[str, Any] = {}
        if world.leads:
            source = _connected(config, snapshot, train, world.device)
            undo.callback(source.close)
            facts = _checked_coverage(source, train, whole, config)
        facts = from_first(facts, world)
        if not world.leads:
            source = _connected(config, facts.get("snapshot"), train, world.device)
        undo.pop_all()
    return source, facts


def _connected(config: TrainConfig, snapshot: str | None, train: Dataset, device: torch.device) -> TargetSource:
    targets = config.targets
    if targets.from_snapshot:
        pinned = targets.model_copy(update={"snapshot": snapshot or targets.snapshot, "mode": _mode(config, device)})
        return SnapshotSource(targets.file, pinned) if targets.file is not None else connect(config.service, pinned)
    if targets.knowledge == "noise":
        return NoiseSource(config.seed, targets.noise == "per_step")
    if targets.knowledge == "labels":
        return LabelSource(train, targets.labels)
    return IdentitySource()


def _mode(config: TrainConfig, device: torch.device) -> str:
    """Vectors where a GPU multiplies them faster than the matrix travels."""
    if config.targets.mode != "auto":
        return config.targets.mode
    return "representations" if device.type == "cuda" and config.batch_size >= _MULTIPLIED_FROM else "matrix"


def _checked_coverage(source: TargetSource, train: Dataset, whole: Dataset, config: TrainConfig) -> dict[str, Any]:
    """Refuses a snapshot that lacks training images, better now than in the middle of an epoch; and one that knows others."""
    if isinstance(source, LabelSource):
        return {"without_knowledge": source.without_knowledge, "leaks": []}
    if not isinstance(source, ServiceSource | SnapshotSource):
        return {"leaks": []}
    snapshot = source.snapshot if isinstance(source, SnapshotSource) else source.snapshot.id
    split = config.data.train_split

    def look_up() -> dict[str, Any]:
        share = _without_knowledge(source, snapshot, train, split)
        return {"without_knowledge": share, "others": _of_other_images(source, snapshot, split, whole) if split else ""}

    # Neither a snapshot nor an index ever changes, and to ask for millions of images takes a while.
    known = remembered(whole, [snapshot, config.targets.knowledge, config.targets.representation, str(split)], look_up)
    leaks = settled(
        [] if split is None else [_of_another_split(source, snapshot, split), known["others"]],
        allowed=config.data.allow_leaks,
        way_out=f"kg-service snapshot publish --split {split}",
    )
    facts = {"snapshot": snapshot, "without_knowledge": known["without_knowledge"], "leaks": leaks}
    if isinstance(source, SnapshotSource):
        return facts
    manifest = source.snapshot.manifest
    return {**facts, "vocabulary": manifest.vocabulary, "variants": manifest.variants}


def _without_knowledge(source: ServiceSource | SnapshotSource, snapshot: str, train: Dataset, split: str | None) -> float:
    """The share of training images without a usable CUI; raises InvalidInput where the snapshot lacks some."""
    coverage = source.coverage(train.ids)
    if coverage.unknown:
        raise InvalidInput(
            f"snapshot {snapshot:.12} lacks {len(coverage.unknown)} of {len(train)} training images: "
            f"{', '.join(coverage.unknown[:20])}",
            hint=f"kg-service ingest them, then kg-service snapshot publish --split {split}",
        )
    return coverage.without_knowledge


def _of_another_split(source: ServiceSource | SnapshotSource, snapshot: str, split: str) -> str:
    if source.split in (None, split):
        return ""
    return f"snapshot {snapshot:.12} was published of split {source.split!r}, not of {split!r}"


def _of_other_images(source: ServiceSource | SnapshotSource, snapshot: str, split: str, whole: Dataset) -> str:
    """A snapshot's statistics, and so the targets, know all its images."""
    others = whole.others(split)
    unknown = set(source.coverage(others.ids).unknown)
    names = zip(others.ids, others.labels("split"), strict=True)
    held = Counter(name or "none" for image_id, name in names if image_id not in unknown)
    counts = ", ".join(f"{count} of split {name}" for name, count in held.most_common())
    return f"snapshot {snapshot:.12} holds images that are not trained on: {counts}" if counts else ""
