"""Items to graph: link the captions, add what the vocabulary knows of the concepts, write batch by batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from nbclip.files.reading import Rows
from nbclip.files.rows import kind_of
from nbclip.schemas.images import ImageItem, ItemOutcome, Outcome

from kg_service.graph.store import (
    AttributeEdge,
    ConceptNode,
    GraphBatch,
    GraphStore,
    ImageNode,
    IsAEdge,
    OnConflict,
    RelationEdge,
)
from kg_service.ingest.readers import ReadOptions, Row, read_items
from kg_service.ingest.unknown import UnknownCuis
from kg_service.linking.model import LinkedCaption, Linker
from kg_service.tracing import stage
from kg_service.vocabulary.model import BadRow, Surroundings

FIRST_PROBLEMS = 20


class ConceptSource(Protocol):
    """What ingest asks of a vocabulary."""

    def __contains__(self, cui: object) -> bool:
        """Whether the concept is known."""

    def surroundings(self, cuis: Iterable[str]) -> Surroundings:
        """Known concepts with every ancestor and what their relations lead to, and the edges among them."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a file or folder, or of the part of it that is done.

    Attributes:
        path: the file or folder.
        counts: images by outcome; the rejected ones contradict what is stored.
        bad_rows: rows that can't be used.
        problems: the first bad rows and rejected images, by file and line.
        seconds: time taken.
        bytes_read: of the file as it is on disk.
        bytes_total: its size.
        kinds: bad rows by what is wrong with them.
        unknown_cuis: CUIs given that the vocabulary lacks, each counted once.
        first_unknown_cuis: the first of them, and in which row each was met first.
        without_cuis: images given an empty list of CUIs: they have no concept, and their captions are not linked.
    """

    path: Path
    counts: Mapping[Outcome, int]
    bad_rows: int
    problems: tuple[BadRow, ...]
    seconds: float
    bytes_read: int
    bytes_total: int
    kinds: Mapping[str, int] = field(default_factory=dict)
    unknown_cuis: int = 0
    first_unknown_cuis: tuple[tuple[str, Row], ...] = ()
    without_cuis: int = 0

    @property
    def rows(self) -> int:
        """Rows read, good and bad."""
        return sum(self.counts.values()) + self.bad_rows

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / max(self.seconds, 1e-9)


def link_batch(items: Sequence[ImageItem], linker: Linker, vocabulary: ConceptSource) -> GraphBatch:
    """The part of the graph that items make: images, their concepts and what stands around these in the vocabulary.

    An item's own CUIs are used as they are, else its caption is linked. A CUI that the vocabulary lacks stays, without name.
    """
    images = link_images(items, linker)
    return around(images, {edge.cui for image in images for edge in image.attributes}, vocabulary)


def link_images(items: Sequence[ImageItem], linker: Linker) -> list[ImageNode]:
    """One image an item, in order, with the edges to its concepts."""
    linked = iter(linker.link([item.caption for item in items if item.cuis is None]))
    return [_image(item, _linked_edges(next(linked), linker.name) if item.cuis is None else _given_edges(item)) for item in items]


def around(images: Sequence[ImageNode], cuis: Collection[str], vocabulary: ConceptSource) -> GraphBatch:
    """Images, these concepts, and what stands around the concepts in the vocabulary."""
    known = vocabulary.surroundings(cui for cui in cuis if cui in vocabulary)
    nodes = [ConceptNode(concept.cui, concept.name, concept.semantic_types, concept.source) for concept in known.concepts]
    nodes += [ConceptNode(cui, "") for cui in sorted(cuis) if cui not in vocabulary]
    is_a = [IsAEdge(edge.child, edge.parent, edge.source) for edge in known.is_a]
    relations = [RelationEdge(edge.subject, edge.relation, edge.target, edge.source) for edge in known.relations]
    return GraphBatch(images, nodes, is_a, relations)


def ingest_items(
    items: Sequence[ImageItem], store: GraphStore, linker: Linker, vocabulary: ConceptSource, on_conflict: OnConflict
) -> list[ItemOutcome]:
    """Links and stores items in one transaction; one outcome an item, in order."""
    with stage("link", captions=len(items)):
        batch = link_batch(items, linker, vocabulary)
    with stage("store", images=len(items)):
        report = store.write(batch, on_conflict=on_conflict)
    return [
        ItemOutcome(image_id=image.image_id, outcome="rejected", code="conflict", reason=result.reason)
        if result.outcome == "rejected"
        else ItemOutcome(image_id=image.image_id, outcome=result.outcome, cuis=_present_cuis(image))
        for image, result in zip(batch.images, report.outcomes, strict=True)
    ]


def ingest_file(
    path: Path,
    store: GraphStore,
    linker: Linker,
    vocabulary: ConceptSource,
    *,
    options: ReadOptions | None = None,
    on_conflict: OnConflict = "reject",
    batch_size: int = 2_000,
    on_progress: Callable[[IngestReport], None] = lambda report: None,
    on_problem: Callable[[BadRow], None] = lambda problem: None,
    before: IngestReport | None = None,
) -> IngestReport:
    """Links and stores the rows of a file or folder, a transaction every `batch_size` rows. Running it again changes nothing.

    Args:
        path: a file or folder that `nbclip.files.reading` reads.
        store: where the graph is.
        linker: links the captions of rows without CUIs.
        vocabulary: names, semantic types and is_a.
        options: how the file is read.
        on_conflict: what happens to an image that is stored with other content.
        batch_size: rows of one transaction.
        on_progress: called after every transaction with the report so far.
        on_problem: called for every bad row and rejected image.
        before: what an earlier call had done when it ended; its rows are skipped, and the report continues from there.

    Raises:
        InvalidInput: the file can't be read as a whole; what was stored before stays.
        Unavailable: the store can't be written; what was stored before stays.
    """
    options = options or ReadOptions()
    source = Rows([path], options.layout())
    tally = _Tally(path, source, vocabulary, before)
    with closing(read_items(source, options)) as items:
        tally.note_cuis(islice(items, before.rows if before else 0))
        for chunk in _chunks(items, batch_size):
            rows = [row for row in chunk if isinstance(row, Row)]
            bad_rows = [row for row in chunk if isinstance(row, BadRow)]
            outcomes = ingest_items([row.item for row in rows], store, linker, vocabulary, on_conflict)
            for problem in tally.add(rows, outcomes, bad_rows):
                on_problem(problem)
            on_progress(tally.report())
    return tally.report()


class _Tally:
    """The running count of one file or folder."""

    def __init__(self, path: Path, source: Rows, vocabulary: ConceptSource, before: IngestReport | None) -> None:
        self._path, self._source = path, source
        self._unknown, self._without_cuis = UnknownCuis(vocabulary), 0
        self._started = time.monotonic() - (before.seconds if before else 0)
        self._counts: Counter[Outcome] = Counter(before.counts if before else {})
        self._bad_rows = before.bad_rows if before else 0
        self._kinds = Counter(before.kinds if before else {})
        self._problems: list[BadRow] = [*(before.problems if before else ())]

    def note_cuis(self, rows: Iterable[Row | BadRow]) -> None:
        """Counts unknown and no CUIs, also in rows that an earlier call has stored: of these `before` has the first only."""
        for row in rows:
            if isinstance(row, Row):
                self._unknown.add(row)
                self._without_cuis += row.item.cuis == []

    def add(self, rows: Sequence[Row], outcomes: Sequence[ItemOutcome], bad_rows: Sequence[BadRow]) -> list[BadRow]:
        """Counts a transaction; returns its bad rows and rejected images."""
        self._counts.update(outcome.outcome for outcome in outcomes)
        self._bad_rows += len(bad_rows)
        self._kinds.update(kind_of(row.reason) for row in bad_rows)
        self.note_cuis(rows)
        problems = [*bad_rows, *_rejections(rows, outcomes)]
        self._problems += problems[: FIRST_PROBLEMS - len(self._problems)]
        return problems

    def report(self) -> IngestReport:
        return IngestReport(
            path=self._path,
            counts=dict(self._counts),
            bad_rows=self._bad_rows,
            problems=tuple(self._problems),
            seconds=time.monotonic() - self._started,
            bytes_read=self._source.position,
            bytes_total=self._source.size,
            kinds=dict(self._kinds),
            unknown_cuis=len(self._unknown),
            first_unknown_cuis=tuple(self._unknown.first),
            without_cuis=self._without_cuis,
        )


def _image(item: ImageItem, attributes: tuple[AttributeEdge, ...]) -> ImageNode:
    return ImageNode(item.image_id, item.caption, attributes, item.dataset, item.split)


def _given_edges(item: ImageItem) -> tuple[AttributeEdge, ...]:
    return tuple(AttributeEdge(cui) for cui in dict.fromkeys(item.cuis or ()))


def _linked_edges(linked: LinkedCaption, linker: str) -> tuple[AttributeEdge, ...]:
    return tuple(
        AttributeEdge(
            mention.cui, mention.text, mention.start, mention.end, mention.score, mention.rule, mention.assertion, linker
        )
        for mention in linked.mentions
    )


def _present_cuis(image: ImageNode) -> list[str]:
    return sorted({edge.cui for edge in image.attributes if edge.assertion == "present"})


def _chunks(rows: Iterator[Row | BadRow], size: int) -> Iterator[list[Row | BadRow]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _rejections(rows: Iterable[Row], outcomes: Iterable[ItemOutcome]) -> list[BadRow]:
    return [
        BadRow(row.file, row.line, f"image {row.item.image_id} rejected: {outcome.reason}")
        for row, outcome in zip(rows, outcomes, strict=True)
        if outcome.outcome == "rejected"
    ]
