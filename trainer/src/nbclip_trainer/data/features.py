"""Features in the place of images: what locked towers computed of them once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nbclip_trainer.data.augmentation import drawn_views
from nbclip_trainer.data.images import Decoded
from nbclip_trainer.data.planner import PlannedBatch


@dataclass(frozen=True, slots=True)
class FeaturesOfImages:
    """A dataset's features by view and row, float32, [V, N, …]; `Decoded.pixels` holds features.

    View 0 is the images themselves. Those of bad images are not asked for.
    """

    features: Tensor
    seed: int

    def training(self, plan: Iterable[PlannedBatch]) -> Iterator[Decoded]:
        """See `Images`; of each image the view that its epoch draws."""
        views, rows = self.features.shape[:2]
        for batch in plan:
            drawn = drawn_views(rows, views - 1, self.seed, batch.epoch)[batch.rows]
            yield Decoded(batch.rows.tolist(), self.features[torch.from_numpy(drawn).long(), torch.from_numpy(batch.rows)], {})

    def plain(self, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        return self.view(0, batches)

    def view(self, number: int, batches: Iterable[Sequence[int]]) -> Iterator[Decoded]:
        """See `Images`."""
        for rows in batches:
            yield Decoded(list(rows), self.features[number, torch.tensor(rows)], {})

    def at_once(self) -> FeaturesOfImages:
        """See `Images`."""
        return self
