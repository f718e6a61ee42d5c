"""An opened snapshot: mapped arrays, found by image id."""

from __future__ import annotations

import functools
import threading
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput
from nbclip.schemas.targets import DEFAULT_REPRESENTATION, Knowledge

from kg_service.representations.methods import METHODS
from kg_service.representations.model import FittedRepresentation, ImageVectors
from kg_service.snapshot.ancestry import IsA, index_is_a, relations_of
from kg_service.snapshot.manifest import Manifest
from kg_service.snapshot.segment import Segment, Variant, open_snapshot_arrays
from kg_service.storage.arrays import Arrays


@dataclass(frozen=True)
class Base:
    """What a publication froze: its images, the graph's concepts, the fitted tables. Mapped, and shared by every process.

    Attributes:
        folder: where its files are.
        manifest: of the publication.
        segment: its images.
        graph: `cuis`, `is_a`, and typed relations where there are any.
    """

    folder: Path
    manifest: Manifest
    segment: Segment
    graph: Arrays

    @functools.cached_property
    def cuis(self) -> tuple[str, ...]:
        """M CUIs, sorted."""
        return tuple(self.graph["cuis"].astype(str).tolist())

    @functools.cached_property
    def is_a(self) -> IsA:
        """The hierarchy over `cuis`."""
        return index_is_a(self.graph["is_a"], len(self.graph["cuis"]))

    def fitted(self, variant: Variant) -> FittedRepresentation:
        """The representation that gave the image vectors; made of its tables when it is first asked for."""
        if variant not in self._fitted:
            # The methods' own libraries: images that are held have their vectors without them.
            from kg_service.representations.from_cards import restore

            tables = open_snapshot_arrays(self.folder, self.manifest.files, f"{'.'.join(variant)}.t.")
            self._fitted[variant] = restore(self.manifest.variants["/".join(variant)], self.cuis, tables)
        return self._fitted[variant]

    @functools.cached_property
    def _fitted(self) -> dict[Variant, FittedRepresentation]:
        return {}


@dataclass(frozen=True)
class Snapshot:
    """An opened snapshot: what was published, and images that were appended to it, whose rows follow.

    Its arrays are read-only.

    Attributes:
        id: of what was published or appended last.
        manifest: of the same.
        base: what was published.
        tail: images that were appended.
        warm: kinds of work that were done with it before: their kernels are compiled, and the vectors that they need are made.
    """

    id: str
    manifest: Manifest
    base: Base
    tail: Segment | None = None
    warm: set[Hashable] = field(default_factory=set, init=False, repr=False, compare=False)
    _made: dict[Variant, ImageVectors] = field(default_factory=dict, init=False, repr=False, compare=False)
    _making: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A tail of several segments was put together in memory: numba compiles anew for arrays that can be written.
        for array in self.tail.images.values() if self.tail else ():
            array.flags.writeable = False

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The base's, and the tail if there is one."""
        return (self.base.segment,) if self.tail is None else (self.base.segment, self.tail)

    def vectors(self, representation: str, knowledge: Knowledge) -> ImageVectors:
        """Image vectors in row order.

        Raises:
            InvalidInput: the snapshot does not hold this variant.
        """
        variant = self._variant(representation, knowledge)
        vectors = self.base.segment.vectors[variant]
        return vectors if self.tail is None else replace(vectors, tail=self._tail_vectors(self.tail, variant))

    def fitted(self, representation: str, knowledge: Knowledge) -> FittedRepresentation:
        """The representation that gave the image vectors; made of its tables when it is first asked for.

        Raises:
            InvalidInput: the snapshot does not hold this variant, or it is of a form that this version does not know.
        """
        return self.base.fitted(self._variant(representation, knowledge))

    def _variant(self, representation: str, knowledge: Knowledge) -> Variant:
        # What requests name by default: so noise can be asked for without a name.
        names = {name for name, _ in self.base.segment.vectors} | {DEFAULT_REPRESENTATION}
        variant = ("noise" if knowledge == "noise" and representation in names else representation, knowledge)
        if variant not in self.base.segment.vectors:
            held = ", ".join(sorted("/".join(each) for each in self.base.segment.vectors))
            hint = f"it holds {held}{self._way_to(representation)}"
            lacking = f"variant {'/'.join(variant)}" if representation in names else f"representation {representation}"
            raise InvalidInput(f"the snapshot has no {lacking}", hint=hint)
        return variant

    def _way_to(self, representation: str) -> str:
        """How a snapshot comes to hold a representation that this one lacks; empty if it has it, or nothing has."""
        fitted = {name for name, _ in self.base.segment.vectors} - {"noise"}
        if representation in fitted or representation not in METHODS:
            return ""
        return f"; KG_REPRESENTATIONS={','.join(sorted(fitted | {representation}))} and a new publication bring {representation}"

    def _tail_vectors(self, tail: Segment, variant: Variant) -> ImageVectors:
        """Those that are held, or those that follow from image ids and concepts: made when they are first asked for."""
        if variant in tail.vectors:
            return tail.vectors[variant]
        if variant not in self._made:
            with self._making:
                if variant not in self._made:
                    ids = [tail.image_id(row) for row in range(len(tail))]
                    self._made[variant] = self.base.fitted(variant).embed_known(ids, tail.has(len(self.base.graph["cuis"])))
        return self._made[variant]

    @property
    def cuis(self) -> tuple[str, ...]:
        """M CUIs, sorted."""
        return self.base.cuis

    @property
    def is_a(self) -> IsA:
        """The hierarchy over `cuis`."""
        return self.base.is_a

    def relations(self, concept: int) -> Iterator[tuple[str, int]]:
        """Relation and target of each typed edge that leaves a concept."""
        return relations_of(self.base.graph, concept)

    def cui(self, concept: int) -> str:
        """The CUI at a position, without making `cuis`."""
        return bytes(self.base.graph["cuis"][concept]).decode()

    def concepts(self, row: int) -> npt.NDArray[np.int32]:
        """Where the concepts of a row's image stand in `cuis`, ascending."""
        segment, place = self._place(row)
        return segment.concepts_of(place)

    def positions(self, image_ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row of each image, [R]; -1 where the snapshot does not hold it."""
        rows = self.base.segment.positions(image_ids)
        if self.tail is not None and (missing := np.flatnonzero(rows < 0)).size:
            found = self.tail.positions([image_ids[at] for at in missing.tolist()])
            rows[missing] = np.where(found < 0, -1, found + len(self.base.segment))
        return rows

    def image_id(self, row: int) -> str:
        """The id of a row's image."""
        segment, place = self._place(row)
        return segment.image_id(place)

    def caption_keys(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """`caption_key` of the images of these rows, [R]."""
        images = len(self.base.segment)
        if self.tail is None:
            own: npt.NDArray[np.int64] = self.base.segment.images["caption_keys"][rows]
            return own
        later = rows >= images
        keys = np.empty(len(rows), np.int64)
        keys[~later] = self.base.segment.images["caption_keys"][rows[~later]]
        keys[later] = self.tail.images["caption_keys"][rows[later] - images]
        return keys

    def _place(self, row: int) -> tuple[Segment, int]:
        """The segment that a row is in, and where."""
        images = len(self.base.segment)
        return (self.base.segment, row) if self.tail is None or row < images else (self.tail, row - images)
