"""Where similarities come from, how they become target rows, and how the service is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from nbclip.schemas.base import Strict
from nbclip.schemas.targets import TargetParameters
from pydantic import Field, model_validator


class TargetSchedule(Strict):
    """Where targets go while a run trains: linearly, from the values of `targets`; null stays as it is."""

    neighbour_mass: float | None = Field(None, ge=0, le=1, description="m at the end; null: unchanged")
    effective_neighbours: float | None = Field(None, ge=1, description="effective neighbours at the end; null: unchanged")
    temperature: float | None = Field(None, ge=1e-4, le=1e4, description="fixed τ at the end; null: unchanged")
    over: float = Field(1.0, gt=0, le=1, description="share of all steps after which these values are reached")


class TargetSettings(TargetParameters):
    """Where similarities come from and how they become target rows."""

    knowledge: Literal["identity", "noise", "dk", "dk_ek", "labels"] = Field(
        "identity",
        description="part of the graph that targets use; identity: none, one-hot rows, which is CLIP; "
        "labels: no graph but the true labels, the ceiling of an experiment",
    )
    labels: tuple[Literal["modality", "organ", "modality_organ"], ...] = Field(
        ("modality", "organ"),
        min_length=1,
        description="for knowledge labels: columns of classes; S is the share of them in which two images agree",
    )
    noise: Literal["service", "per_image", "per_step"] = Field(
        "service",
        description="service: noise only for images with CUIs, as in dk_ek; the others: drawn by the trainer, for all images",
    )
    representation: str = Field("hybrid", description="a representation that the snapshot holds")
    snapshot: str | None = Field(None, description="id of the snapshot; null: the one that is current when the run starts")
    mode: Literal["auto", "matrix", "representations", "snapshot"] = Field(
        "auto",
        description="matrix: the service multiplies the vectors; representations: this device does; snapshot: this device "
        "does, with the vectors of targets.file; auto: matrix, or representations on a GPU from 1,024 pairs on",
    )
    file: Path | None = Field(None, description="for mode snapshot: file that `kg-service snapshot embeddings FILE` wrote")
    duplicates: Literal["positive", "ignore"] = Field("positive", description="how to treat pairs with the same caption")
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


class ServiceSettings(Strict):
    """How the knowledge-graph service is reached."""

    url: str | None = Field(None, description="URL of the service, such as `http://127.0.0.1:8080`")
    key_file: Path | None = Field(None, description="file with the bearer key; else the variable NBCLIP_SERVICE_KEY")
    give_up_after: float = Field(600.0, gt=0, description="seconds to retry before the run stops with a checkpoint")
    prefetch: int = Field(4, ge=1, description="number of steps for which to ask for targets in advance")


def _between(start: float, end: float, share: float) -> float:
    """On the straight line from `start` to `end`, and never an ulp outside."""
    return min(max((1 - share) * start + share * end, min(start, end)), max(start, end))
