"""What a representation is: graph in, a vector per image out, whose dot products are similarities.

    Representation.variants(graph) ──▶ {knowledge: FittedRepresentation} ──embed(images, CUIs)──▶ ImageVectors

One contract for all methods: similarity is symmetric, positive semi-definite, in [-1, 1] with diagonal 1; a new caption's
CUIs get a vector without refitting; the same graph and settings give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from nbclip.schemas.targets import Knowledge
from scipy import sparse

from kg_service.errors import OtherVersion
from kg_service.graph.store import Graph

Card = dict[str, bool | int | float | str]
"""A model card: method, parameters, seed, what it was learned from, for which images it has vectors."""

Tables = Mapping[str, npt.NDArray[Any]]
"""Named arrays that a fitted representation consists of; a snapshot keeps them."""


@dataclass(frozen=True, slots=True)
class ImageVectors:
    """N unit vectors in two parts: x = [sparse, dense]; a row of zeros where the image has no usable CUI.

    Attributes:
        sparse: float32 CSR, [N, A].
        dense: float32, [N, d]; d may be 0.
        tail: vectors of images that came later, [T, A] and [T, d], as the rows from N on; None where there are none.
    """

    sparse: sparse.csr_array
    dense: npt.NDArray[np.float32]
    tail: ImageVectors | None = None

    def __len__(self) -> int:
        return int(self.dense.shape[0]) + (len(self.tail) if self.tail else 0)

    def tables(self) -> tuple[ImageVectors, ...]:
        """This one, and the tail if there is one: each on its own."""
        return (self,) if self.tail is None else (ImageVectors(self.sparse, self.dense), self.tail)


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view as memory-mapped arrays are: numba compiles anew for others."""
    view = array.view()
    view.flags.writeable = False
    return view


Positions = npt.NDArray[np.integer[Any]]
"""Where concepts stand in the graph's CUIs; distinct, ascending."""

PairKind = Literal["cooccurrence", "learned"]


@dataclass(frozen=True, slots=True)
class Contributions:
    """What brings the similarity of two images, the left with L concepts, the right with R: the sum of both parts.

    Attributes:
        meeting: concepts that both images' vectors weigh, theirs or above theirs; [T].
        meeting_share: product of the two weights, float64, [T].
        left_reaches: whether a concept of the left image has its weight at the meeting concept, bool, [L, T].
        right_reaches: the same of the right image, [R, T].
        pair_share: what a concept of the left and one of the right bring together, float64, [L, R].
        pair_kind: by what: vectors of co-occurrence, or learned ones.
        additive: whether the parts add up to the similarity, up to rounding.
        account: in words, what the parts are and, where they don't add up, why.
    """

    meeting: Positions
    meeting_share: npt.NDArray[np.float64]
    left_reaches: npt.NDArray[np.bool_]
    right_reaches: npt.NDArray[np.bool_]
    pair_share: npt.NDArray[np.float64]
    pair_kind: PairKind
    additive: bool
    account: str


class FittedRepresentation(Protocol):
    """A method fitted on a graph, its tables frozen."""

    def embed(self, image_ids: Sequence[str], cuis: Sequence[Sequence[str]]) -> ImageVectors:
        """Vectors of images with these present CUIs, in order; CUIs unknown to the tables are left out."""

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """The same of images that have these of the M concepts; entries of a row ascending, each 1, whatever their dtype."""

    def contributions(self, left: Positions, right: Positions) -> Contributions:
        """What brings the similarity of two images with these concepts."""

    def tables(self) -> Tables:
        """What new captions need to get vectors."""

    def card(self) -> Card:
        """The model card, for the snapshot's manifest."""


Variants = Mapping[Knowledge, FittedRepresentation]
"""A method's forms on one graph: `dk` with its attributes only, `dk_ek` with its is_a edges too."""


class Representation(Protocol):
    """A method with its parameters."""

    def variants(self, graph: Graph) -> Variants:
        """Fits every form that the method has; the same graph gives the same bits."""


def other_version(why: str) -> OtherVersion:
    """The error of a snapshot that can be served, but neither explained nor appended to. It is not damaged."""
    return OtherVersion(f"the snapshot was made by another version: {why}", hint="publish again: kg-service snapshot publish")
