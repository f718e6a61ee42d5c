"""Requests and answers of the REST API, with their limits. The service validates them, the trainer speaks them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nbclip_shared.ids import Cui, ImageId, SnapshotId

MAX_ITEMS = 1_000
MAX_CAPTION_CHARACTERS = 20_000
MAX_BATCH = 65_536

Knowledge = Literal["noise", "dk", "dk_ek"]
Assertion = Literal["present", "absent", "uncertain"]
Outcome = Literal["created", "unchanged", "replaced", "rejected"]
MatrixDtype = Literal["float32", "bfloat16", "float16"]


class Strict(BaseModel):
    """A body that names an unknown field is refused: a misspelt option must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetParameters(Strict):
    """How similarities become targets (`nbclip_shared.targets`)."""

    form: Literal["recommended", "paper-literal"] = Field(
        "recommended", description="recommended keeps the diagonal apart; paper-literal is softmax(S/τ) with the diagonal inside"
    )
    neighbour_mass: float = Field(0.3, ge=0, le=1, description="m: share of a row's mass given to its neighbours")
    effective_neighbours: float = Field(
        8.0, ge=1, le=MAX_BATCH, description="exp(entropy) of the neighbours' part; solves τ per row"
    )
    temperature: float | None = Field(None, ge=1e-4, le=1e4, description="τ, if it is to be fixed instead of solved per row")
    top_k: int | None = Field(None, ge=1, description="keep each row's k most similar neighbours only")
    floor: float = Field(0.1, ge=-1, le=1, description="a row whose largest similarity is below stays one-hot")


class ImageItem(Strict):
    """One image of `POST /images`; `cuis` given are used as they are, otherwise the caption is linked."""

    image_id: ImageId
    caption: str = Field(max_length=MAX_CAPTION_CHARACTERS)
    cuis: list[Cui] | None = Field(None, max_length=1_000)
    dataset: str | None = Field(None, max_length=200)
    split: str | None = Field(None, max_length=200)


class ImagesRequest(Strict):
    items: list[ImageItem] = Field(min_length=1, max_length=MAX_ITEMS)
    on_conflict: Literal["reject", "replace"] = "reject"


class ItemOutcome(Strict):
    image_id: str
    outcome: Outcome
    cuis: list[Cui] = []
    code: str | None = None
    reason: str | None = None


class ImagesResponse(Strict):
    results: list[ItemOutcome]
    counts: dict[Outcome, int]


class Attribute(Strict):
    """A `has_attribute` edge: the concept, and where in the caption and why."""

    cui: Cui
    name: str = ""
    text: str = ""
    start: int = -1
    end: int = -1
    score: float = 1.0
    rule: str = "given"
    assertion: Assertion = "present"
    linker: str = "given"


class ImageOut(Strict):
    image_id: str
    caption: str
    caption_sha256: str
    dataset: str | None
    split: str | None
    ingested_at: str
    attributes: list[Attribute]


class ImagePage(Strict):
    images: list[ImageOut]
    next_cursor: str | None = Field(None, description="pass as `cursor` for the next page; null at the end")


class LinkRequest(Strict):
    captions: list[str] = Field(min_length=1, max_length=MAX_ITEMS)


class Candidate(Strict):
    cui: Cui
    name: str
    score: float


class MentionOut(Strict):
    cui: Cui
    name: str
    text: str
    start: int = Field(description="first character of the mention in the caption (Unicode code points)")
    end: int = Field(description="one past the last character")
    score: float = Field(ge=0, le=1)
    rule: str
    assertion: Assertion
    candidates: list[Candidate] = Field([], description="the concepts that lost, best first")


class LinkedCaptionOut(Strict):
    caption: str
    mentions: list[MentionOut]


class LinkResponse(Strict):
    linker: str
    results: list[LinkedCaptionOut]


class ConceptRef(Strict):
    cui: Cui
    name: str


class ConceptOut(ConceptRef):
    names: list[str]
    semantic_types: list[str]
    parents: list[ConceptRef]
    children: list[ConceptRef]
    ancestors: list[ConceptRef]
    image_count: int = Field(description="images of the store with a present attribute of this concept")


class ConceptPage(Strict):
    concepts: list[ConceptRef]


class TargetsRequest(TargetParameters):
    """`POST /targets`: rows are one rank's images, columns the global batch."""

    image_ids: list[ImageId] = Field(min_length=1, max_length=MAX_BATCH, description="R row ids")
    column_ids: list[ImageId] | None = Field(
        None, min_length=1, max_length=MAX_BATCH, description="C column ids; default: image_ids"
    )
    snapshot: SnapshotId | None = Field(None, description="default: the newest")
    knowledge: Knowledge = "dk_ek"
    representation: str = Field("hybrid", pattern=r"^[a-z0-9_-]{1,64}$")
    output: Literal["targets", "similarity"] = "targets"
    dtype: MatrixDtype = "float32"
    on_unknown: Literal["error", "flag"] = "error"

    @model_validator(mode="after")
    def _float16_is_for_similarities(self) -> Self:
        if self.output == "targets" and self.dtype == "float16":
            raise ValueError("float16 targets fall into subnormals; ask for float32 or bfloat16, or for output 'similarity'")
        return self

    def parameters(self) -> TargetParameters:
        """The part that shapes targets."""
        return TargetParameters(**self.model_dump(include=set(TargetParameters.model_fields)))


class TargetsResponse(Strict):
    """The JSON form, for people and small batches; trainers ask for safetensors."""

    output: Literal["targets", "similarity"]
    values: list[list[float]] = Field(description="[R][C]")
    has_knowledge: list[bool] = Field(description="[C]: false where the image has no usable CUI")
    unknown: list[bool] = Field(description="[C]: true where the snapshot does not hold the image")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str


class PublishRequest(Strict):
    """`POST /snapshots`: freeze the graph, or the part of it that one dataset or split has."""

    dataset: str | None = None
    split: str | None = Field(None, description="targets of a training run come from its train split only")


class SnapshotFile(Strict):
    name: str
    bytes: int
    sha256: str


class SnapshotManifest(Strict):
    """What a snapshot holds; its id is the SHA-256 of this manifest's canonical JSON."""

    format: Literal[1] = 1
    vocabulary: dict[str, str] = Field(description="release, sha256, licence of the vocabulary; empty if unknown")
    linkers: list[str]
    dataset: str | None
    split: str | None
    images: int
    images_with_knowledge: int
    concepts: int
    attributes: int
    is_a_edges: int
    variants: dict[str, dict[str, float | int | str]] = Field(description="'<representation>/<knowledge>' to its settings")
    versions: dict[str, str]
    files: list[SnapshotFile]


class SnapshotOut(Strict):
    id: SnapshotId
    current: bool
    manifest: SnapshotManifest


class SnapshotList(Strict):
    snapshots: list[SnapshotOut]


class Info(Strict):
    name: str
    version: str
    vocabulary: dict[str, str]
    store: str
    linker: str
    snapshot: str | None
    limits: dict[str, int]
    counts: dict[str, int]


class ProblemItem(BaseModel):
    where: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    hint: str = ""
    request_id: str = ""
    errors: list[ProblemItem] = []
