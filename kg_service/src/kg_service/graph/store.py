"""The knowledge graph and the protocol of its stores.

Nodes: images, concepts. Edges: `has_attribute` (image to concept, from its caption), `is_a` and typed relations (concept to
concept), such as `has_finding_site`.
The embedded store (SQLite) is the default; every store passes the one congruence suite in `tests/contract`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from nbclip.schemas.images import Outcome
from nbclip.schemas.linking import Assertion

OnConflict = Literal["reject", "replace"]


@dataclass(frozen=True, slots=True)
class AttributeEdge:
    """`has_attribute`: an image's caption says this of this concept; `start` = `end` = -1 where the CUI was given."""

    cui: str
    text: str = ""
    start: int = -1
    end: int = -1
    score: float = 1.0
    rule: str = "given"
    assertion: Assertion = "present"
    linker: str = "given"


@dataclass(frozen=True, slots=True)
class ImageNode:
    """An image, its caption and its attributes; `ingested_at` (ISO 8601, UTC) is set by the store where it is empty."""

    image_id: str
    caption: str
    attributes: tuple[AttributeEdge, ...] = ()
    dataset: str | None = None
    split: str | None = None
    ingested_at: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which images are looked for: all that is given must hold.

    Attributes:
        words: each is part of the caption, in whichever case.
        cui: the image has a mention of exactly this concept, whatever its assertion.
        score_below: it has a mention with a lower score.
    """

    words: tuple[str, ...] = ()
    cui: str = ""
    score_below: float | None = None


ALL = Wanted()


@dataclass(frozen=True, slots=True)
class ConceptNode:
    """A UMLS concept; `source` is the SAB of its preferred name."""

    cui: str
    name: str
    semantic_types: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class IsAEdge:
    """`child` is_a `parent`, by `source` (SAB)."""

    child: str
    parent: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class RelationEdge:
    """`subject` `relation` `target`, by `source` (SAB): Pneumonia has_finding_site Lung. `relation` is a RELA of the UMLS."""

    subject: str
    relation: str
    target: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class GraphBatch:
    """What one call writes.

    `concepts` holds every concept that the batch's edges name (a store need not know them yet).
    """

    images: Sequence[ImageNode] = ()
    concepts: Sequence[ConceptNode] = ()
    is_a: Sequence[IsAEdge] = ()
    relations: Sequence[RelationEdge] = ()


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """What became of one image of a batch; `reason` only where it was rejected."""

    image_id: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WriteReport:
    """One outcome an image, in the batch's order."""

    outcomes: tuple[ImageOutcome, ...]


@dataclass(frozen=True, slots=True)
class GraphCounts:
    """Nodes and edges of the whole graph; attributes of every assertion; typed edges by relation."""

    images: int
    concepts: int
    attributes: int
    is_a: int
    relations: Mapping[str, int] = field(default_factory=dict)

    def by_kind(self) -> dict[str, int]:
        """All numbers in one: images, concepts, attributes, is_a, and each relation by its name."""
        kinds = {"images": self.images, "concepts": self.concepts, "attributes": self.attributes, "is_a": self.is_a}
        return kinds | {name: number for name, number in self.relations.items() if name not in kinds}


@dataclass(frozen=True, slots=True)
class Revision:
    """A state of a store: the number of the last transaction that changed its images, and a token that no other state has.

    A backup that was restored and written to since comes to the same number, but not to the same token.
    """

    number: int
    token: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph as arrays, as representations read it. Orders are canonical: image ids and CUIs sorted by code point.

    Attributes:
        image_ids: N image ids, sorted: a tuple, or mapped (`storage.strings.Strings`) where there may be more than memory holds.
        caption_sha256: N digests (`nbclip.ids.caption_sha256`).
        cuis: M CUIs, sorted: every concept of the selected images' present attributes, all their ancestors, what a relation of
            one of these leads to, and all above that by is_a and by transitive relations (`TRANSITIVE`).
        attribute_indptr: int64, [N + 1]: row pointers of the image-to-concept matrix (CSR).
        attribute_indices: int32, [nnz]: concept positions in `cuis`, ascending and distinct within a row; present
            attributes only.
        is_a: int32, [E, 2]: child and parent positions in `cuis`, distinct, sorted.
        linkers: names of the linkers that made the edges, sorted.
        relations: by relation, in alphabetical order: int32, [E, 2]: subject and target positions in `cuis`, distinct, sorted;
            of what only a relation led to, the transitive ones alone.
        revision: the state of the store, or of the local copy, that it was read from; None if it was read from none.
    """

    image_ids: Sequence[str]
    caption_sha256: Sequence[str]
    cuis: tuple[str, ...]
    attribute_indptr: npt.NDArray[np.int64]
    attribute_indices: npt.NDArray[np.int32]
    is_a: npt.NDArray[np.int32]
    linkers: tuple[str, ...]
    relations: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    revision: Revision | None = None


class GraphSource(Protocol):
    """What snapshots, copies and exports are made of: a store, or a folder of linked captions."""

    def image_ids(self) -> set[str]:
        """The ids of all images."""

    def splits(self) -> list[str]:
        """The splits that images have, sorted."""

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """The whole graph, or the part that one dataset or split has, as arrays."""

    def read_new(self, since: Revision, *, dataset: str | None = None, split: str | None = None) -> Graph | None:
        """The images added since a graph was read, with their own concepts and no edges between these; it reads no others.

        None if images were replaced or deleted since, or if `since` is not a former state of this store: the whole
        graph says what changed.
        """

    def counts(self) -> GraphCounts:
        """Nodes and edges by kind."""

    def batches(self) -> Iterator[GraphBatch]:
        """The whole graph as batches that any store's `write` takes: concepts, is_a and relations first, then images, a
        store's by id.

        What is written meanwhile may be among them or not.
        """


class GraphStore(GraphSource, Protocol):
    """Keeps the graph. Every write may be replayed: the same batch twice gives the same graph."""

    def write(self, batch: GraphBatch, *, on_conflict: OnConflict = "reject") -> WriteReport:
        """Upserts a batch in one transaction, or in several if it is too large for one; returns after it is durable.

        Same id and same content: unchanged. Same id, other content (caption, dataset, split or attributes): rejected, or
        with `on_conflict="replace"` the image and its edges are swapped in the same transaction. An id that stands twice in
        one batch is taken in order.

        Raises:
            Unavailable: the store can't be written now. Parts of a batch that took several transactions may be written.
        """

    def image(self, image_id: str) -> ImageNode | None:
        """The image with its attributes ordered by (start, end, cui), or None."""

    def images(self, *, after: str = "", limit: int = 100, wanted: Wanted = ALL) -> list[ImageNode]:
        """Up to `limit` wanted images with ids above `after`, ordered by id (keyset paging).

        Without an index: what few images have takes as long as looking at all of them.
        """

    def delete_image(self, image_id: str) -> bool:
        """Removes an image and its edges; False if there was none. Concepts stay."""

    def image_count(self, cui: str) -> int:
        """Images with a present attribute of exactly this concept."""

    def check(self) -> None:
        """Runs a real query.

        Raises:
            Unavailable: the store does not answer; the message says why and what to do.
        """

    def close(self) -> None:
        """Releases files and connections; safe to call twice."""


@dataclass(frozen=True, slots=True)
class Access:
    """What opening a store may need beside its address (`stores.open_store`)."""

    user: str = "neo4j"
    password: str = field(default="", repr=False)
    mirror: Path = Path("data/mirror")
    bulk: bool = False
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class StoreKind:
    """All that the service has to know of a kind of store.

    Attributes:
        open: the store at an address, which may be made there.
        probe: asks once whether it can be used, and makes nothing.
        file: where on this machine it is kept; None: nowhere.
    """

    open: Callable[[str, Access], GraphStore]
    probe: Callable[[str, Access], None]
    file: Callable[[str], Path | None]
