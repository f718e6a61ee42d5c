"""Requests and answers of the REST API, with their limits. The service validates them, the trainer speaks them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator

from nbclip.ids import Cui, ImageId, SnapshotId, are_plain_image_ids

MAX_ITEMS = 1_000
MAX_CAPTION_CHARACTERS = 20_000
MAX_BATCH = 65_536
MAX_CONTRIBUTIONS = 1_000
MAX_NEIGHBOURS = 100
WITHOUT_NUL = r"^[^\x00]*$"
"""NUL ends a text for other programs, which would see half of it."""

Knowledge = Literal["noise", "dk", "dk_ek"]
Assertion = Literal["present", "absent", "uncertain"]
Outcome = Literal["created", "unchanged", "replaced", "rejected"]
MatrixDtype = Literal["float32", "bfloat16", "float16"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ContributionKind = Literal["concept", "ancestor", "cooccurrence", "learned", "rest", "unexplained"]


def _at_once(values: Any, check_each: ValidatorFunctionWrapHandler) -> Any:
    """A call for each id would take longer than the work that is asked for."""
    plain = isinstance(values, list) and 0 < len(values) <= MAX_BATCH and are_plain_image_ids(values)
    return values if plain else check_each(values)


BatchIds = Annotated[list[ImageId], Field(min_length=1, max_length=MAX_BATCH), WrapValidator(_at_once)]


class Strict(BaseModel):
    """A body that names an unknown field is refused: a misspelt option must never be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetParameters(Strict):
    """How similarities become targets (`nbclip.targets`)."""

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
    caption: str = Field(max_length=MAX_CAPTION_CHARACTERS, pattern=WITHOUT_NUL)
    cuis: list[Cui] | None = Field(None, max_length=1_000)
    dataset: str | None = Field(None, max_length=200, pattern=WITHOUT_NUL)
    split: str | None = Field(None, max_length=200, pattern=WITHOUT_NUL)


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


class JobProblem(Strict):
    """A row that could not be used, or an image that contradicts what is stored."""

    line: int = Field(description="of the body, unpacked, from 1")
    reason: str


class JobOut(Strict):
    """A bulk ingest: what was asked, and what became of it so far."""

    id: str = Field(description="digest of the body and of what was asked: the same again is the same job")
    state: JobState
    created_at: str = Field(description="ISO 8601, UTC")
    rows: int = Field(description="rows that are done, good and bad")
    counts: dict[Outcome, int]
    bad_rows: int
    problems: list[JobProblem] = Field(description="the first bad rows and rejected images")
    bytes_read: int = Field(description="of the body as it came")
    bytes_total: int
    seconds: float = Field(description="of work so far")
    rows_per_second: float | None = None
    eta_seconds: float | None = Field(None, description="what is left, at the rate so far; null where that is not known")
    error: str = Field("", description="why it failed, or waits")
    hint: str = ""


class JobList(Strict):
    jobs: list[JobOut] = Field(description="the newest first")


class Attribute(Strict):
    """A `has_attribute` edge: the concept, and where in the caption and why."""

    cui: Cui
    name: str = ""
    groups: list[str] = Field([], description="UMLS semantic groups of the concept, such as DISO")
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
    groups: list[str] = Field([], description="UMLS semantic groups of the concept, such as DISO")
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


_SHAPES = frozenset(("neighbour_mass", "effective_neighbours", "top_k", "floor"))
"""What shapes the neighbours' part, which paper-literal does not have."""


class TargetsRequest(TargetParameters):
    """`POST /targets`: rows are one rank's images, columns the global batch."""

    image_ids: BatchIds = Field(description="R row ids")
    column_ids: BatchIds | None = Field(None, description="C column ids; default: image_ids")
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

    @model_validator(mode="after")
    def _paper_literal_has_a_temperature_alone(self) -> Self:
        if self.form == "paper-literal" and (given := sorted(_SHAPES & self.model_fields_set)):
            raise ValueError(f"{', '.join(given)}: no part of paper-literal, which is softmax(S/τ); leave it out")
        return self

    def parameters(self) -> TargetParameters:
        """The part that shapes targets."""
        return TargetParameters(**self.model_dump(include=set(TargetParameters.model_fields)))


class RepresentationsRequest(Strict):
    """`POST /representations`: image vectors of a batch, for a trainer that multiplies them on its own device."""

    image_ids: BatchIds = Field(description="C ids")
    snapshot: SnapshotId | None = Field(None, description="default: the newest")
    knowledge: Knowledge = "dk_ek"
    representation: str = Field("hybrid", pattern=r"^[a-z0-9_-]{1,64}$")
    dtype: Literal["float32", "float16"] = Field("float32", description="float16 moves a similarity by up to .001")
    on_unknown: Literal["error", "flag"] = "error"


class TargetsResponse(Strict):
    """The JSON form, for people and small batches; trainers ask for safetensors."""

    output: Literal["targets", "similarity"]
    values: list[list[float]] = Field(description="[R][C]")
    has_knowledge: list[bool] = Field(description="[C]: false where the image has no usable CUI")
    unknown: list[bool] = Field(description="[C]: true where the snapshot does not hold the image")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str


class ExplainRequest(Strict):
    """`POST /explain`: why are two images as similar as they are?"""

    image_id: ImageId
    other_id: ImageId
    snapshot: SnapshotId | None = Field(None, description="default: the newest")
    knowledge: Knowledge = "dk_ek"
    representation: str = Field("hybrid", pattern=r"^[a-z0-9_-]{1,64}$")
    limit: int = Field(
        20, ge=1, le=MAX_CONTRIBUTIONS, description="contributions that are listed; the others are added up in one row"
    )


class ExplainedImage(Strict):
    """One of the two, with its present concepts in the snapshot."""

    image_id: str
    concepts: list[ConceptRef]


class CommonAncestor(ConceptRef):
    """A concept of both images or above theirs, with no other such concept below it; concepts that both have are not listed."""

    steps: int = Field(description="is_a steps from the nearest concept of image_id; 0: it has this concept")
    other_steps: int = Field(description="the same from other_id")


class Contribution(Strict):
    """A part of the similarity, by what brings it."""

    kind: ContributionKind = Field(
        description="concept: both images have it; ancestor: it stands above a concept of one or of both; cooccurrence, learned: "
        "a concept of one and one of the other, by their vectors; rest: the smaller parts; unexplained: what no concept brings"
    )
    share: float = Field(description="the shares of all rows add up to the similarity")
    concept: ConceptRef | None = Field(None, description="where the images meet; null for a pair")
    concepts: list[ConceptRef] = Field([], description="through which concepts of image_id")
    other_concepts: list[ConceptRef] = Field([], description="through which concepts of other_id")
    count: int = Field(1, description="how many a row `rest` adds up")


class ExplainResponse(Strict):
    similarity: float = Field(description="what `/targets` gives for these two with output 'similarity'")
    additive: bool = Field(description="false where concepts do not bring all of it; the row `unexplained` has what they don't")
    notes: list[str] = Field(description="in words: how to read it, and what is special about this pair")
    image: ExplainedImage
    other: ExplainedImage
    shared: list[ConceptRef] = Field(description="concepts that both images have")
    nearest_common_ancestors: list[CommonAncestor] = Field(description="over is_a, whether or not the representation uses it")
    parts: dict[ContributionKind, float] = Field(description="the shares of all contributions, those of `rest` too, by kind")
    contributions: list[Contribution] = Field(description="largest first; `rest` and `unexplained` last")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str


class Neighbour(Strict):
    image_id: str
    similarity: float
    same_caption: bool = Field(description="a duplicate: `/targets` counts it as a full positive")
    shared: list[ConceptRef] = Field(description="concepts that both images have")


class NeighboursResponse(Strict):
    image_id: str
    has_knowledge: bool = Field(description="false where the image has no usable CUI, and so no neighbour")
    neighbours: list[Neighbour] = Field(description="largest similarity first, equal ones in the snapshot's order, by image id")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str


class PublishRequest(Strict):
    """`POST /snapshots`: freeze the graph, or the part of it that one dataset or split has; or append what is new in it."""

    dataset: str | None = None
    split: str | None = Field(None, description="targets of a training run come from its train split only")
    append: bool = Field(
        False, description="add images that the current snapshot lacks, of its dataset and split, by its frozen tables"
    )

    @model_validator(mode="after")
    def _an_append_keeps_to_its_part(self) -> Self:
        if self.append and (self.dataset is not None or self.split is not None):
            raise ValueError("an append takes the current snapshot's dataset and split; publish to choose others")
        return self


class SnapshotFile(Strict):
    name: str
    bytes: int
    sha256: str


class Appended(Strict):
    """On what an appended snapshot stands: images that came later, embedded by the tables of a published one."""

    base: SnapshotId = Field(description="the published snapshot: its images, concepts and frozen tables")
    earlier: list[SnapshotId] = Field(description="appended snapshots whose own images it has too, oldest first")
    images: int = Field(description="appended to the base in all")
    own: int = Field(description="of those, in this snapshot's own files")


class SnapshotManifest(Strict):
    """What a snapshot holds; its id is the SHA-256 of this manifest's canonical JSON."""

    format: Literal[2] = 2
    vocabulary: dict[str, str] = Field(description="release, sha256, licence of the vocabulary; empty if unknown")
    linkers: list[str]
    dataset: str | None
    split: str | None
    images: int
    images_with_knowledge: int
    concepts: int
    attributes: int
    is_a_edges: int
    variants: dict[str, dict[str, bool | int | float | str]] = Field(
        description="'<representation>/<knowledge>' to its model card"
    )
    versions: dict[str, str]
    files: list[SnapshotFile]
    appended: Appended | None = Field(None, description="null, and no part of the canonical JSON, where it was published whole")


class AppendCounts(Strict):
    """What came of an append, and how far the graph has gone on beside it: publishing anew takes everything up."""

    appended: int = Field(description="images that are new in the snapshot")
    without_vector: int = Field(description="of those, without a concept that the base knows")
    concepts_left_out: int = Field(description="concepts of new images that the base does not know")
    replaced: int = Field(description="images that keep their former vector, and have another caption or concepts in the graph")
    deleted: int = Field(description="images that are in the snapshot, and no longer in this part of the graph")
    elsewhere: int = Field(
        0, description="images of the graph in other datasets or splits than the snapshot's; counted where nothing was appended"
    )


class SnapshotOut(Strict):
    id: SnapshotId
    current: bool
    manifest: SnapshotManifest
    append: AppendCounts | None = Field(None, description="only in the answer to an append")


class SnapshotList(Strict):
    snapshots: list[SnapshotOut]
    damaged: list[SnapshotId] = Field(
        default_factory=list, description="with a damaged manifest, or one of another version; `kg-service snapshot prune`"
    )


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
