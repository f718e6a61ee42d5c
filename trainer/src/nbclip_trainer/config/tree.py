"""The tree of a run's settings, one section for each room; `reading` reads it from files.

`service`, `log`, `checkpoint`, `validation`, `device` and the place of the data may change when a run is resumed; everything else
shapes the weights and may not (`shape_of`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

import yaml
from nbclip.schemas.base import Strict
from pydantic import Field, model_validator

from nbclip_trainer.data.settings import AugmentationSettings, DataSettings
from nbclip_trainer.losses.infonce import InfoNCE
from nbclip_trainer.losses.table import ChosenLoss
from nbclip_trainer.models.settings import ModelSettings
from nbclip_trainer.optimisation.settings import OptimisationSettings
from nbclip_trainer.parallel.settings import DeviceSettings
from nbclip_trainer.runs.settings import CheckpointSettings, LogSettings, ValidationSettings
from nbclip_trainer.targets.settings import ServiceSettings, TargetSettings

_FREE_ON_RESUME: dict[str, Any] = {
    **dict.fromkeys(("description", "service", "log", "checkpoint", "validation", "device"), True),
    # Where files and a cache lie is free; their pairs are checked by a digest. So is when bad images are found.
    "data": {
        "files",
        "columns",
        "format",
        "separator",
        "max_bad_row_share",
        "cache",
        "features",
        "workers",
        "check",
        "max_bad_share",
        "allow_leaks",
    },
    # Where a snapshot's similarities are multiplied; which snapshot it is, is checked by its id.
    "targets": {"mode", "file"},
}


class TrainConfig(Strict):
    """All settings of one run."""

    description: str = Field("", description="what `nbclip presets` says of it")
    seed: int = Field(42, ge=0, description="seed of initial weights, batches and augmentation")
    epochs: int = Field(10, ge=1, description="passes over the training pairs")
    batch_size: int = Field(128, ge=2, description="pairs of a step over all processes: the in-batch negatives of the loss")
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    targets: TargetSettings = TargetSettings()
    loss: ChosenLoss = InfoNCE()
    optim: OptimisationSettings = OptimisationSettings()
    service: ServiceSettings = ServiceSettings()
    log: LogSettings = LogSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    validation: ValidationSettings = ValidationSettings()
    device: DeviceSettings = DeviceSettings()

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        if self.targets.knowledge != "identity" and not self.loss.takes_knowledge:
            raise ValueError(f"loss.name={self.loss.name} takes no knowledge; use loss.name=sm, or targets.knowledge=identity")
        for name in ("every", "patience"):
            value = getattr(self.validation, name)
            if value is not None and self.data.valid_split is None:
                raise ValueError(f"validation.{name}={value} needs a validation split, and data.valid_split is null")
        if self.checkpoint.best_by != "loss" and not self.validation.retrieval:
            raise ValueError(f"checkpoint.best_by={self.checkpoint.best_by} is measured with validation.retrieval=true only")
        self._check_features()
        return self

    @property
    def towers_repeat(self) -> bool:
        """Whether the towers compute no more than a few views of a pair, again in every epoch."""
        locked = all(tower.unlocked == 0 and tower.lora is None for _, tower in self.model.towers())
        return locked and self.augmentation.repeats

    @property
    def selected(self) -> Literal["last", "best"]:
        """The checkpoint to evaluate: that of `checkpoint.select`, the last where nothing is validated."""
        return "last" if self.data.valid_split is None else self.checkpoint.select

    def _check_features(self) -> None:
        """What is computed once is needed again."""
        if self.data.features is None:
            for name, tower in self.model.towers():
                if tower.start == "pca":
                    raise ValueError(f"model.{name}.start=pca takes what locked towers compute: set data.features=FOLDER")
                if tower.dropout and self.device.compile:
                    raise ValueError(f"model.{name}.dropout={tower.dropout:g} can't be compiled: set device.compile=false")
            return
        for name, tower in self.model.towers():
            if tower.unlocked != 0:
                raise ValueError(
                    f"data.features keeps what locked towers compute: set model.{name}.unlocked=0, not {tower.unlocked}"
                )
            if tower.lora is not None:
                raise ValueError(
                    f"data.features keeps what locked towers compute, which adapters change: leave out model.{name}.lora"
                )
        if not self.augmentation.repeats:
            raise ValueError(
                "data.features keeps some views of each image, and augmentation makes a new one in each step: set "
                "augmentation.views=2, or augmentation.kind=none"
            )


def to_yaml(config: TrainConfig) -> str:
    """The whole resolved tree as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shape_of(config: TrainConfig) -> dict[str, Any]:
    """The settings that shape the weights: what a resumed run must share with the run it continues."""
    return config.model_dump(mode="json", exclude=_FREE_ON_RESUME)


def config_hash(config: TrainConfig) -> str:
    """SHA-256 (hexadecimal) of `shape_of` in canonical JSON."""
    return hashlib.sha256(json.dumps(shape_of(config), sort_keys=True).encode()).hexdigest()
