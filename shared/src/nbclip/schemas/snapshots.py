"""Snapshots: published, listed, described."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from nbclip.ids import Cui, SnapshotId
from nbclip.schemas.base import NEXT_CURSOR, Answer, Request
from nbclip.schemas.targets import RepresentationName

Parameters = dict[str, bool | int | FiniteFloat | str]
_CHOSEN_AT_PUBLICATION = {"representations", "is_a", "relations", "concepts", "current"}


class ShuffledIsA(Request):
    """The graph's is_a with its parents shuffled: a control of whether it matters what the ontology says."""

    shuffled: int = Field(ge=0, description="seed; every concept keeps its number of parents and of children")


class OwnIsA(Request):
    """An own hierarchy in place of the graph's is_a."""

    edges: list[tuple[Cui, Cui]] = Field(
        description="[child, parent] each; without a cycle. Parents need not be concepts of the graph; edges that begin neither "
        "at a concept of an image nor above one are left out"
    )

    @field_validator("edges")
    @classmethod
    def _without_a_cycle(cls, edges: list[tuple[str, str]]) -> list[tuple[str, str]]:
        parents: dict[str, list[str]] = {}
        for child, parent in edges:
            parents.setdefault(child, []).append(parent)
        try:
            TopologicalSorter(parents).prepare()
        except CycleError as error:
            raise ValueError(f"is_a has a cycle: {' is_a '.join(reversed(error.args[1]))}") from None
        return edges


class ShuffledRelations(Request):
    """The graph's typed relations, the targets of each shuffled: a control of whether it matters where they lead."""

    shuffled: int = Field(
        ge=0, description="seed; within each relation every concept keeps its number of edges that leave it and that lead to it"
    )


class RarestConcepts(Request):
    """Of each image only its rarest concepts, as if its caption named no others."""

    rarest: int = Field(
        ge=1, description="how many; by the number of selected images that have a concept, then by CUI. Fewer where it has fewer"
    )


class PublishRequest(Request):
    """`POST /v1/snapshots`: freeze the graph, or one dataset or split of it; or append what is new in it."""

    dataset: str | None = None
    split: str | None = Field(
        None, description="only images of this split; targets for training must come from the training split alone"
    )
    append: bool = Field(
        False, description="add the images of the current snapshot's dataset and split that it lacks, by its frozen tables"
    )
    representations: dict[RepresentationName, Parameters] | None = Field(
        None,
        min_length=1,
        description="what to fit, with these parameters, named as in KG_<NAME>_<PARAMETER>; default: the service's settings, of "
        "each parameter too. `noise`, the control, is always held",
    )
    is_a: ShuffledIsA | OwnIsA | None = Field(
        None, description='in place of the graph\'s is_a: `{"shuffled": SEED}` or `{"edges": [[CHILD, PARENT], …]}`'
    )
    relations: ShuffledRelations | None = Field(
        None, description='in place of the graph\'s typed relations: `{"shuffled": SEED}`; with an own is_a there are none'
    )
    concepts: RarestConcepts | None = Field(
        None, description='in place of all concepts of each image: `{"rarest": N}`; is_a and relations begin at those alone'
    )
    current: bool = Field(
        True, description="serve it from now on; if false it is served where a request names it, and pruning leaves it"
    )

    @model_validator(mode="after")
    def _an_append_keeps_to_its_part(self) -> Self:
        if self.append and (self.dataset is not None or self.split is not None):
            raise ValueError("an append takes the current snapshot's dataset and split; publish to choose others")
        if self.append and (given := sorted(_CHOSEN_AT_PUBLICATION & self.model_fields_set)):
            raise ValueError(f"{', '.join(given)}: an append keeps what the current snapshot has; publish to choose otherwise")
        return self


class SnapshotFile(Answer):
    name: str
    bytes: int
    sha256: str


class Appended(Answer):
    """What an appended snapshot builds on: a published one, whose tables embed the later images."""

    base: SnapshotId = Field(description="the published snapshot: its images, concepts and frozen tables")
    earlier: list[SnapshotId] = Field(description="appended snapshots whose images it includes, oldest first")
    images: int = Field(description="appended to the base in total")
    own: int = Field(description="of those, the ones in this snapshot's own files")


class IsAOrigin(Answer):
    """Where the is_a of a snapshot comes from, if not from the graph: it is no knowledge of the vocabulary."""

    kind: Literal["shuffled", "own"] = Field(description="the graph's with its parents shuffled, or what the request brought")
    seed: int | None = Field(None, description="of the shuffle")


class RelationsOrigin(Answer):
    """Where the typed relations of a snapshot come from, if not from the graph: they are no knowledge of the vocabulary."""

    kind: Literal["shuffled"] = Field(description="the graph's with their targets shuffled")
    seed: int = Field(description="of the shuffle")


class SnapshotManifest(Answer):
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
    appended: Appended | None = Field(None, description="null, and not in the canonical JSON, if it was published whole")
    relation_edges: dict[str, int] = Field({}, description="typed edges by relation; not in the canonical JSON if there are none")
    is_a: IsAOrigin | None = Field(None, description="null, and not in the canonical JSON, if it is the graph's")
    relations: RelationsOrigin | None = Field(
        None, description="null, and not in the canonical JSON, if the typed relations are the graph's"
    )
    rarest_concepts: int | None = Field(
        None, description="how many of each image's concepts it has, the rarest; null, and not in the canonical JSON: all"
    )


class AppendCounts(Answer):
    """What an append added, and what only a new publication would pick up."""

    appended: int = Field(description="images added to the snapshot")
    without_vector: int = Field(description="of those, the ones without a concept the base knows")
    concepts_left_out: int = Field(description="concepts of new images that the base lacks")
    replaced: int = Field(description="images whose caption or concepts changed in the graph; they keep their vector")
    deleted: int = Field(description="images in the snapshot that the graph no longer has")
    by_concepts: list[str] = Field(
        [],
        description="representations whose published images have learned vectors of their own; appended ones have them of their "
        "concepts, until a new publication learns theirs",
    )
    elsewhere: int = Field(
        0, description="images of the graph in datasets or splits other than the snapshot's; counted if nothing was appended"
    )


class SnapshotOut(Answer):
    id: SnapshotId
    current: bool
    manifest: SnapshotManifest
    append: AppendCounts | None = Field(None, description="only in the answer to an append")


class SnapshotImages(Answer):
    """A page of the images that a snapshot holds."""

    image_ids: list[str] = Field(description="in the order of the snapshot's rows")
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)


class SnapshotList(Answer):
    snapshots: list[SnapshotOut] = Field(description="the current one first, then the newest")
    damaged: list[SnapshotId] = Field(
        default_factory=list,
        description="ids of snapshots whose manifest is damaged or of another version; `kg-service snapshot prune` removes them",
    )
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)
