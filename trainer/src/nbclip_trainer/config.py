"""A training run's settings, checked key by key; `nbclip_trainer.presets` reads them from files.

`TrainConfig` is the one tree. `service`, `log`, `checkpoint`, `device` and the place of the data may change when a run is
resumed; everything else shapes the weights and may not (`shape_of`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from nbclip.schemas.targets import TargetParameters
from pydantic import BaseModel, ConfigDict, Field, model_validator

_FREE_ON_RESUME: dict[str, Any] = {
    **dict.fromkeys(("description", "service", "log", "checkpoint", "device"), True),
    # Where the files lie is free; that they hold the same pairs is checked by their digest.
    "data": {"files", "columns", "workers"},
    # Where a snapshot's similarities are multiplied; which snapshot it is, is checked by its id.
    "targets": {"mode", "file"},
}


class Section(BaseModel):
    """A part of the tree: an unknown key is refused, values can't be changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Vision(Section):
    """open_clip's `CLIPVisionCfg`: four `layers` make a ModifiedResNet, one number a vision transformer."""

    image_size: int = Field(224, ge=32)
    layers: tuple[int, int, int, int] | int = 12
    width: int = Field(768, ge=1)
    head_width: int = Field(64, ge=1)
    patch_size: int = Field(16, ge=1)


class Text(Section):
    """open_clip's `CLIPTextCfg`."""

    context_length: int = Field(77, ge=4)
    vocab_size: int = 49408
    width: int = Field(512, ge=1)
    heads: int = Field(8, ge=1)
    layers: int = Field(12, ge=1)


class Architecture(Section):
    """A model that open_clip has no name for."""

    embed_dim: int = Field(512, ge=1)
    vision_cfg: Vision = Vision()
    text_cfg: Text = Text()


class ModelSettings(Section):
    """What is trained."""

    name: str = Field("ViT-B-16-quickgelu", description="an open_clip name, `local-dir:PATH`, or any word beside `architecture`")
    architecture: Architecture | None = Field(None, description="build this instead of looking `name` up")
    pretrained: str | None = Field(None, description="open_clip tag such as `openai`, or a weights file; null: from scratch")
    resize: Literal["shortest", "longest", "squash"] = Field("shortest", description="how a picture becomes a square")
    logit_scale: float | None = Field(1 / 0.07, ge=1, le=100, description="start of exp(logit_scale); null: the weights' own")


class Columns(Section):
    """The files' names of the columns."""

    image_id: str = "image_id"
    file: str = "file"
    caption: str = "caption"
    split: str = "split"


class DataSettings(Section):
    """Where pairs come from."""

    files: tuple[Path, ...] = Field((), description="tables, shards (.tar), folders of these or of ROCO; * stands for any")
    columns: Columns = Columns()
    train_split: str | None = "train"
    valid_split: str | None = Field("valid", description="null: no validation loss")
    pictures: Literal["memory", "disk"] = Field("disk", description="memory: decode once; disk: decode at each use")
    check: Literal["decode", "headers"] = Field(
        "decode", description="of `disk`, before the first step: decode all pictures once, or read what begins their files"
    )
    workers: int = Field(4, ge=0, description="decoding processes of `disk`, decoding threads of the first pass")
    max_pixels: int = Field(100_000_000, ge=1, description="a picture of more pixels is refused undecoded")
    max_bad_share: float = Field(0.01, ge=0, le=1, description="stop if a greater share of pictures can't be decoded")


class Augmentation(Section):
    """Random changes of a training picture; no flip, as left and right mean something in the body."""

    kind: Literal["none", "affine", "open_clip"] = Field("open_clip", description="affine: on batches in memory, below")
    scale: tuple[float, float] = (0.85, 1.15)
    shift: float = Field(0.06, ge=0, le=1, description="share of the side")
    degrees: float = Field(7.0, ge=0, le=180)
    gamma: tuple[float, float] = (0.8, 1.25)
    contrast: tuple[float, float] = (0.85, 1.15)


class TargetSchedule(Section):
    """Where targets go while a run trains: linearly, from the values of `targets`; null stays as it is."""

    neighbour_mass: float | None = Field(None, ge=0, le=1)
    effective_neighbours: float | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=1e-4, le=1e4)
    over: float = Field(1.0, gt=0, le=1, description="share of all steps after which they are there")


class TargetSettings(TargetParameters):
    """Where similarities come from and how they become target rows."""

    knowledge: Literal["identity", "noise", "dk", "dk_ek"] = Field("identity", description="identity: one-hot, which is CLIP")
    noise: Literal["service", "per_image", "per_step"] = Field(
        "service", description="service: only images with CUIs have it, as in dk_ek; the others are drawn here, for all images"
    )
    representation: str = "hybrid"
    snapshot: str | None = Field(None, description="null: the newest at the run's start")
    mode: Literal["auto", "matrix", "representations", "snapshot"] = Field(
        "auto",
        description="matrix: the service multiplies; representations: this device does; snapshot: this device, with the "
        "vectors of targets.file; auto: matrix, and representations on a GPU for 1,024 pairs and more",
    )
    file: Path | None = Field(None, description="snapshot: what `kg-service snapshot embeddings FILE` wrote")
    duplicates: Literal["positive", "ignore"] = Field("positive", description="pairs with the same caption")
    schedule: TargetSchedule = TargetSchedule()

    def parameters(self, done: float = 0.0) -> TargetParameters:
        """The part that `build_targets` takes, when a share `done` of all steps is done."""
        values = self.model_dump(include=set(TargetParameters.model_fields))
        share = min(done / self.schedule.over, 1.0)
        return TargetParameters(**values | {name: _between(values[name], end, share) for name, end in self.scheduled.items()})

    @property
    def scheduled(self) -> dict[str, float]:
        """What changes while the run trains, and its last value."""
        return self.schedule.model_dump(exclude={"over"}, exclude_none=True)

    @property
    def needs_service(self) -> bool:
        """Whether similarities come over HTTP."""
        return self.from_snapshot and self.mode != "snapshot"

    @property
    def from_snapshot(self) -> bool:
        """Whether similarities come from a snapshot of the graph, by the service or by a file."""
        return self.knowledge in {"dk", "dk_ek"} or (self.knowledge == "noise" and self.noise == "service")

    @model_validator(mode="after")
    def _file_is_for_snapshot(self) -> Self:
        if (self.mode == "snapshot") != (self.file is not None):
            raise ValueError("targets.mode=snapshot and targets.file=FILE belong together")
        return self

    @model_validator(mode="after")
    def _schedule_has_a_start(self) -> Self:
        if "temperature" in self.scheduled and self.temperature is None:
            raise ValueError("targets.schedule.temperature needs targets.temperature to begin at")
        if "effective_neighbours" in self.scheduled and self.temperature is not None:
            raise ValueError("targets.schedule.effective_neighbours says nothing where targets.temperature is given")
        if self.scheduled and self.form == "paper-literal" and set(self.scheduled) != {"temperature"}:
            raise ValueError("targets.form=paper-literal has a temperature alone")
        return self


class LossSettings(Section):
    """Which loss; the other keys belong to one loss each."""

    name: Literal["infonce", "sm", "mse", "sigmoid_soft", "sigmoid_fff"] = "infonce"
    mse_on: Literal["cos", "prob"] = "cos"
    diagonal_weight: float | None = Field(0.5, ge=0, le=1, description="mse: the diagonal's share of the loss; null: 1/N")
    threshold: float = Field(0.5, ge=-1, le=1, description="sigmoid_fff: a pair above is positive")


class Optimisation(Section):
    """Optimizer and schedule."""

    name: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    logit_scale_lr: float | None = Field(None, gt=0, description="null: lr")
    weight_decay: float = Field(0.1, ge=0, description="adamw, on matrices only")
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-6, gt=0)
    clip_norm: float | None = Field(1.0, gt=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.1, ge=0, le=1, description="share of all steps")


class ServiceSettings(Section):
    """How the knowledge-graph service is reached."""

    url: str | None = None
    key_file: Path | None = Field(None, description="file with the bearer key; else the variable NBCLIP_SERVICE_KEY")
    give_up_after: float = Field(600.0, gt=0, description="seconds of retries before the run stops with a checkpoint")
    prefetch: int = Field(4, ge=1, description="steps whose targets are asked for ahead")


class LogSettings(Section):
    """How often figures are written."""

    every: int = Field(1, ge=1, description="steps between records")
    diagnostics_every: int = Field(50, ge=1, description="steps between diagnostics")
    boards: tuple[Literal["wandb", "mlflow"], ...] = Field((), description="beside TensorBoard; each an extra of this package")
    project: str = Field("nbclip", min_length=1, description="project of wandb, experiment of mlflow")


class CheckpointSettings(Section):
    """How often and how many."""

    every: int | None = Field(None, ge=1, description="steps; null: at the end of each epoch")
    keep: int = Field(2, ge=1, description="newest ones kept beside the best")
    select: Literal["last", "best"] = Field("last", description="which one is evaluated; best: lowest validation loss")


class DeviceSettings(Section):
    """What computes."""

    name: str = Field("auto", description="auto, cpu, cuda, cuda:1 …")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="of the towers; auto: bf16 on a GPU, else fp32"
    )
    chunk_size: int | None = Field(None, ge=1, description="pairs whose activations a process holds at once; null: all its pairs")
    grad_checkpointing: bool = Field(False, description="recompute activations of transformer layers: less memory, more time")
    compile: bool = Field(False, description="torch.compile; needs a C++ compiler, pays on a GPU")
    threads: int | None = Field(None, ge=1, description="null: torch's choice")


class TrainConfig(Section):
    """All settings of one run."""

    description: str = ""
    seed: int = Field(42, ge=0)
    epochs: int = Field(10, ge=1)
    batch_size: int = Field(128, ge=2, description="pairs of a step over all processes: the in-batch negatives of the loss")
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    augmentation: Augmentation = Augmentation()
    targets: TargetSettings = TargetSettings()
    loss: LossSettings = LossSettings()
    optim: Optimisation = Optimisation()
    service: ServiceSettings = ServiceSettings()
    log: LogSettings = LogSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    device: DeviceSettings = DeviceSettings()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.loss.name == "infonce" and self.targets.knowledge != "identity":
            raise ValueError("loss.name=infonce takes no knowledge; use loss.name=sm, or targets.knowledge=identity")
        if self.augmentation.kind == "affine" and self.data.pictures != "memory":
            raise ValueError("augmentation.kind=affine works on data.pictures=memory; use open_clip for disk")
        if self.augmentation.kind == "open_clip" and self.data.pictures != "disk":
            raise ValueError("augmentation.kind=open_clip works on data.pictures=disk; use affine for memory")
        return self


def _between(start: float, end: float, share: float) -> float:
    """On the straight line from `start` to `end`, and never an ulp outside."""
    return min(max((1 - share) * start + share * end, min(start, end)), max(start, end))


def to_yaml(config: TrainConfig) -> str:
    """The whole resolved tree as YAML, readable by `load_config`."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shape_of(config: TrainConfig) -> dict[str, Any]:
    """The settings that shape the weights: what a resumed run must share with the run it continues."""
    return config.model_dump(mode="json", exclude=_FREE_ON_RESUME)


def config_hash(config: TrainConfig) -> str:
    """SHA-256 (hexadecimal) of `shape_of` in canonical JSON."""
    return hashlib.sha256(json.dumps(shape_of(config), sort_keys=True).encode()).hexdigest()


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted key and leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
