"""`POST /v1/link`: captions to mentions of concepts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nbclip.ids import Cui
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS, MAX_ITEMS, Answer, Request

Assertion = Literal["present", "absent", "uncertain", "family", "history"]
"""What a caption says of a finding; `family`: of a relative; `history`: of the past alone."""

Caption = Annotated[str, Field(max_length=MAX_CAPTION_CHARACTERS)]


class LinkRequest(Request):
    captions: list[Caption] = Field(min_length=1, max_length=MAX_ITEMS)


class Candidate(Answer):
    cui: Cui
    name: str
    score: float


class MentionOut(Answer):
    cui: Cui
    name: str
    groups: list[str] = Field([], description="UMLS semantic groups of the concept, such as DISO")
    text: str
    start: int = Field(description="first character of the mention in the caption (Unicode code points)")
    end: int = Field(description="one past the last character")
    score: float = Field(ge=0, le=1)
    rule: str
    assertion: Assertion
    candidates: list[Candidate] = Field([], description="the other concepts that the words could mean, best first")


class LinkedCaptionOut(Answer):
    caption: str
    mentions: list[MentionOut]


class LinkResponse(Answer):
    linker: str
    results: list[LinkedCaptionOut]
