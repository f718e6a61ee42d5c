"""What locked towers compute of the pairs that are scored, kept in the folder of `data.features` for other runs of these towers.

FOLDER/scored/KEY.npy    float32, [N, E]; the key is a digest of all that it follows from
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nbclip.files.addresses import Location
from torch import Tensor

from nbclip_trainer.data.identity import identities
from nbclip_trainer.evaluation.features import Keep
from nbclip_trainer.models.stages import TowerName, tower_named, tower_of
from nbclip_trainer.runs.durable import in_turn, replacing
from nbclip_trainer.trained.loading import LoadedRun


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps nothing where a run has no `data.features`, or that folder is elsewhere."""

    loaded: LoadedRun
    batch: int

    def of_images(self, files: Sequence[Location], max_pixels: int) -> Keep:
        """For what the image tower computes of files."""
        visual: Any = self.loaded.model.visual
        read = [visual.preprocess_cfg, max_pixels, self.loaded.config.data.draft]
        return self._keep("image", [*read, *(found or "missing" for found in identities(files))])

    def of_captions(self, captions: Sequence[str]) -> Keep:
        """For what the text tower computes of captions."""
        return self._keep("text", [self.loaded.config.model.reading(), *captions])

    def of_pixels(self, files: Sequence[Location], max_pixels: int) -> Keep:
        """For what is made of the files without a model."""
        return self._keep(None, [max_pixels, *(found or "missing" for found in identities(files))])

    def _keep(self, tower: TowerName | None, given: Sequence[object]) -> Keep:
        folder = self.loaded.config.data.features
        if folder is None or not folder.is_dir():
            return iter
        digest = hashlib.sha256(json.dumps([version("nbclip-trainer"), self.batch, *given], default=str).encode())
        for name, tensor in self._weights(tower):
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        device = next(self.loaded.model.parameters()).device
        (folder / "scored").mkdir(exist_ok=True)
        return partial(_kept, folder / "scored" / f"{digest.hexdigest()}.npy", self.batch, device)

    def _weights(self, tower: TowerName | None) -> Iterator[tuple[str, Tensor]]:
        """Those that a tower computes with, below its projection."""
        if tower is not None:
            projection = tower_named(self.loaded.model, tower).projection
            state = self.loaded.model.state_dict()
            yield from ((name, state[name]) for name in state if tower_of(name) == tower and name not in projection)


def _kept(file: Path, batch: int, device: torch.device, parts: Iterable[Tensor]) -> Iterator[Tensor]:
    with in_turn(file.with_suffix(".lock")):
        if not file.is_file():
            computed = torch.cat([part.float().cpu() for part in parts]).numpy()
            with replacing(file) as path, path.open("wb") as out:
                np.save(out, computed)
    rows = np.load(file)
    return (torch.from_numpy(rows[start : start + batch]).to(device) for start in range(0, len(rows), batch))
