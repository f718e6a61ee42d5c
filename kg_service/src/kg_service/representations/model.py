"""What a representation is: graph in, a vector per image out, whose dot products are similarities.

    Representation.variants(graph) ──▶ {knowledge: FittedRepresentation} ──embed_known(images, concepts)──▶ ImageVectors

One contract for all methods: similarity is symmetric, positive semi-definite, in [-1, 1] with diagonal 1; a new caption's
concepts get a vector without refitting; the same graph and parameters give the same bits; what card and tables restore gives
the same bits too. A method is a file with a `Method`, and a line of `methods.METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from nbclip.schemas.targets import Knowledge
from scipy import sparse

from kg_service.errors import OtherVersion
from kg_service.graph.store import Graph

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MethodSettings = TypeVar("MethodSettings", bound="DataclassInstance")
MethodParameters = TypeVar("MethodParameters", bound="DataclassInstance")

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
    """The parts of two images' similarity, the left with L concepts, the right with R; both kinds add up.

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

    def embed_known(self, image_ids: Sequence[str], has_NM: sparse.csr_array) -> ImageVectors:
        """Vectors of images that have these of the M concepts, in order; a row's entries ascend, each 1, whatever their dtype."""

    @property
    def follows_from_concepts(self) -> bool:
        """Whether card and tables alone give the images that it was fitted on the vectors that they have."""

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


@dataclass(frozen=True, slots=True)
class Method(Generic[MethodSettings]):
    """All that the service has to know of a method.

    Attributes:
        name: in model cards, and in the settings: `KG_<NAME>_<PARAMETER>`.
        settings: the defaults of what can be set, a frozen dataclass (`config.with_settings`).
        representation: the method with such settings.
        parameters: the dataclass of what `representation` gives.
        restore: the fitted representation from its card, the M CUIs of the graph and its tables.
        extra: what of this distribution has to be installed to fit it; to serve it nothing has.
        packages: whose versions decide the bytes, beside those of numpy and scipy; the extra brings them, if there is one.
        parts: names of methods that it is made of: fields of `settings`, which take theirs as these methods do.
        of_card: what `representation` gave, of a model card; None: the card has each field of `parameters`.
        stored: whether an append stores the vectors of its images; or else they are made when they are first asked for.
    """

    name: str
    settings: MethodSettings
    representation: Callable[[MethodSettings], Representation]
    parameters: type[Any]
    restore: Callable[[Card, tuple[str, ...], Tables], FittedRepresentation]
    extra: str = ""
    packages: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    of_card: Callable[[Card], Representation] | None = None
    stored: bool = True


def added_later(before: bool | int | float | str) -> dict[str, Any]:
    """The metadata of a parameter that model cards may lack, such as those of earlier versions; `before`: what it is then."""
    return {"before": before}


def of_card(parameters: type[MethodParameters], card: Card) -> MethodParameters:
    """The parameters that a model card names; raises KeyError where it lacks one that every version had."""
    known = {field.name: field.metadata["before"] for field in fields(parameters) if "before" in field.metadata} | card
    return parameters(**{field.name: known[field.name] for field in fields(parameters)})


def other_version(why: str) -> OtherVersion:
    """The error of a snapshot that can be served, but neither explained nor appended to. It is not damaged."""
    return OtherVersion(
        f"the snapshot was made by another version: {why}", hint="publish again: kg-service snapshot publish, with its --split"
    )
