"""`POST /link`: captions to mentions of concepts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nbclip.ids import Cui
from nbclip.schemas.base import MAX_ITEMS, Strict

Assertion = Literal["present", "absent", "uncertain"]


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
