"""`POST /v1/targets` and `POST /v1/representations`: a batch of images, and how its similarities become targets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from nbclip.ids import ImageId, SnapshotId, are_plain_image_ids
from nbclip.schemas.base import Answer, Request

MAX_BATCH = 65_536
DEFAULT_REPRESENTATION = "hybrid"
Knowledge = Literal["noise", "dk", "dk_ek"]
RepresentationName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]
MatrixDtype = Literal["float32", "bfloat16", "float16"]


def _at_once(values: Any, check_each: ValidatorFunctionWrapHandler) -> Any:
    """A call for each id would take longer than the work that is asked for."""
    plain = isinstance(values, list) and 0 < len(values) <= MAX_BATCH and are_plain_image_ids(values)
    return values if plain else check_each(values)


BatchIds = Annotated[list[ImageId], Field(min_length=1, max_length=MAX_BATCH), WrapValidator(_at_once)]


class TargetParameters(Request):
    """How similarities become targets (`nbclip.targets`)."""

    form: Literal["recommended", "paper-literal"] = Field(
        "recommended", description="recommended keeps the diagonal apart; paper-literal is softmax(S/τ) with the diagonal inside"
    )
    neighbour_mass: float = Field(0.3, ge=0, le=1, description="m: share of a row's mass that goes to neighbours")
    effective_neighbours: float = Field(
        8.0, ge=1, le=MAX_BATCH, description="exp(entropy) of the neighbours' part; τ is solved for each row to reach it"
    )
    temperature: float | None = Field(None, ge=1e-4, le=1e4, description="a fixed τ, instead of one solved for each row")
    top_k: int | None = Field(None, ge=1, description="keep only the k most similar neighbours of each row")
    floor: float = Field(0.1, ge=-1, le=1, description="a row whose largest similarity is lower stays one-hot")


_SHAPES = frozenset(("neighbour_mass", "effective_neighbours", "top_k", "floor"))
"""What shapes the neighbours' part, which paper-literal does not have."""


class TargetsRequest(TargetParameters):
    """`POST /v1/targets`: rows are one rank's images, columns the global batch."""

    image_ids: BatchIds = Field(description="R row ids")
    column_ids: BatchIds | None = Field(None, description="C column ids; default: image_ids")
    snapshot: SnapshotId | None = Field(None, description="default: the current one")
    knowledge: Knowledge = "dk_ek"
    representation: RepresentationName = DEFAULT_REPRESENTATION
    output: Literal["targets", "similarity"] = "targets"
    dtype: MatrixDtype = "float32"
    on_unknown: Literal["error", "flag"] = "error"

    @model_validator(mode="after")
    def _float16_is_for_similarities(self) -> Self:
        if self.output == "targets" and self.dtype == "float16":
            raise ValueError("float16 targets fall into subnormals; ask for float32 or bfloat16, or for output 'similarity'")
        return self

    @model_validator(mode="after")
    def _paper_literal_has_a_temperature_alone(self) -> Self:
        if self.form == "paper-literal" and (given := sorted(_SHAPES & self.model_fields_set)):
            raise ValueError(f"{', '.join(given)}: no part of paper-literal, which is softmax(S/τ); leave it out")
        return self


class RepresentationsRequest(Request):
    """`POST /v1/representations`: image vectors of a batch, for a trainer that multiplies them on its own device."""

    image_ids: BatchIds = Field(description="C ids")
    snapshot: SnapshotId | None = Field(None, description="default: the current one")
    knowledge: Knowledge = "dk_ek"
    representation: RepresentationName = DEFAULT_REPRESENTATION
    dtype: Literal["float32", "float16"] = Field("float32", description="float16 moves a similarity by up to .001")
    on_unknown: Literal["error", "flag"] = "error"


class TargetsResponse(Answer):
    """The JSON form, for people and small batches; trainers ask for safetensors."""

    output: Literal["targets", "similarity"]
    values: list[list[float]] = Field(description="[R][C]")
    has_knowledge: list[bool] = Field(description="[C]: false where the image has no usable CUI")
    unknown: list[bool] = Field(description="[C]: true where the snapshot does not hold the image")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str
