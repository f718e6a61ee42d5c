"""Features in the place of images: what locked towers computed of them once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nbclip_trainer.data.images import Decoded
from nbclip_trainer.data.planner import PlannedBatch


@dataclass(frozen=True, slots=True)
class FeaturesOfImages:
    """A dataset's features by row, float32, [N, …]; those of bad images are not asked for. `Decoded.pixels` holds features."""

    features: Tensor

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`; nothing is augmented."""
        return self.plain(batch.rows.tolist() for batch in plan)

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        for rows in batches:
            yield Decoded(list(rows), self.features[torch.tensor(rows)], {})

    def at_once(self) -> FeaturesOfImages:
        """See `Images`."""
        return self
