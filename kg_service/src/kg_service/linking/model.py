"""What a linker is and what it returns: caption in, mentions with CUI, span, score, rule and assertion out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nbclip.schemas.linking import Assertion


class LinkCandidate(NamedTuple):
    """A concept that a span could have meant; `score` in [0, 1]."""

    cui: str
    name: str
    score: float


class Mention(NamedTuple):
    """A span of a caption and the concept it was linked to. A tuple, because captions have a million of them.

    Attributes:
        cui: the concept.
        name: its preferred name.
        text: the caption's characters `start` to `end` (Unicode code points, end exclusive).
        score: confidence in [0, 1].
        rule: how the span matched, such as `exact`, `normalised`, `word-order`, `abbreviation`.
        assertion: whether the caption says it is there.
        candidates: the concepts that lost, best first.
    """

    cui: str
    name: str
    text: str
    start: int
    end: int
    score: float
    rule: str
    assertion: Assertion
    candidates: tuple[LinkCandidate, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkedCaption:
    """A caption with its mentions, ordered by start, then longest first, then CUI."""

    caption: str
    mentions: tuple[Mention, ...]


class Linker(Protocol):
    """Links captions to concepts. Pure: the same captions give the same mentions, in any batch, in any process."""

    @property
    def name(self) -> str:
        """Method and version, stored on every edge it makes, such as `dictionary-6`."""

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        """One LinkedCaption a caption, in order."""
