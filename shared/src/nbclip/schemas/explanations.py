"""`POST /v1/explain` and neighbours: why images are alike."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.ids import ImageId, SnapshotId
from nbclip.schemas.base import Answer, Request
from nbclip.schemas.concepts import ConceptRef
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge, RepresentationName

MAX_CONTRIBUTIONS = 1_000
MAX_NEIGHBOURS = 100
ContributionKind = Literal["concept", "ancestor", "cooccurrence", "learned", "rest", "unexplained"]


class ExplainRequest(Request):
    """`POST /v1/explain`: why two images are as similar as they are."""

    image_id: ImageId
    other_id: ImageId
    snapshot: SnapshotId | None = Field(None, description="default: the current one")
    knowledge: Knowledge = "dk_ek"
    representation: RepresentationName = DEFAULT_REPRESENTATION
    limit: int = Field(
        20, ge=1, le=MAX_CONTRIBUTIONS, description="number of contributions to list; the others are added up in one row"
    )


class ExplainedImage(Answer):
    """One of the two images, with its present concepts in the snapshot."""

    image_id: str
    concepts: list[ConceptRef]


class CommonAncestor(ConceptRef):
    """A lowest common ancestor of the images' concepts; concepts that both have are not listed."""

    steps: int = Field(description="is_a steps from the nearest concept of image_id; 0: it has this concept")
    other_steps: int = Field(description="the same, from the nearest concept of other_id")
    share: float = Field(
        0.0,
        description="of the similarity, as in `contributions`; 0: the representation leaves it out, as one that too many images "
        "have, as one too far above, or as it does not use is_a",
    )


class ConceptRelation(Answer):
    """A typed edge of the graph: Pneumonia has_finding_site Lung."""

    subject: ConceptRef
    relation: str = Field(description="RELA of the UMLS")
    target: ConceptRef


class Contribution(Answer):
    """A part of the similarity, by its source."""

    kind: ContributionKind = Field(
        description="concept: both images have it; ancestor: it is above a concept of one or of both, or a relation leads there; "
        "cooccurrence, learned: a concept of one and one of the other, by their vectors; rest: the smaller parts; "
        "unexplained: what no concept brings"
    )
    share: float = Field(description="the shares of all rows add up to the similarity")
    concept: ConceptRef | None = Field(None, description="where the images meet; null for a pair")
    concepts: list[ConceptRef] = Field([], description="through which concepts of image_id")
    other_concepts: list[ConceptRef] = Field([], description="through which concepts of other_id")
    count: int = Field(1, description="number of contributions that a row `rest` adds up")


class ExplainResponse(Answer):
    similarity: float = Field(description="what `POST /v1/targets` gives for these two with output 'similarity'")
    additive: bool = Field(description="false if concepts do not explain all of it; the row `unexplained` has the remainder")
    notes: list[str] = Field(description="in words: how to read the answer, and what is special about this pair")
    image: ExplainedImage
    other: ExplainedImage
    shared: list[ConceptRef] = Field(description="concepts that both images have")
    nearest_common_ancestors: list[CommonAncestor] = Field(description="over is_a, whether or not the representation uses it")
    relations: list[ConceptRelation] = Field(
        [],
        description="typed edges on the way from the images' concepts, or those above them, to where both images' concepts lead",
    )
    parts: dict[ContributionKind, float] = Field(description="the shares of all contributions by kind, including those in `rest`")
    contributions: list[Contribution] = Field(description="largest first; `rest` and `unexplained` last")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str


class Neighbour(Answer):
    image_id: str
    similarity: float
    same_caption: bool = Field(description="a duplicate: `POST /v1/targets` counts it as a full positive")
    shared: list[ConceptRef] = Field(description="concepts that both images have")


class NeighboursResponse(Answer):
    image_id: str
    has_knowledge: bool = Field(description="false if the image has no usable CUI, and therefore no neighbour")
    neighbours: list[Neighbour] = Field(description="largest similarity first; equal ones in the order of their ids")
    snapshot: SnapshotId
    knowledge: Knowledge
    representation: str
