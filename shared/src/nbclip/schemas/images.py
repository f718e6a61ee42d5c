"""`POST /v1/images`, and what is stored of an image."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from nbclip.ids import Cui, ImageId
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS, MAX_ITEMS, NEXT_CURSOR, WITHOUT_NUL, Answer, Request, has_text
from nbclip.schemas.linking import Assertion

Outcome = Literal["created", "unchanged", "replaced", "rejected"]


class ImageItem(Request):
    """One image of `POST /v1/images`; given `cuis` are used as they are and need no caption, otherwise the caption is linked."""

    image_id: ImageId
    caption: str = Field("", max_length=MAX_CAPTION_CHARACTERS, pattern=WITHOUT_NUL)
    cuis: list[Cui] | None = Field(
        None,
        max_length=1_000,
        description="null: those that are linked in the caption; an empty list: no concept, and the caption is not linked",
    )
    dataset: str | None = Field(None, max_length=200, pattern=WITHOUT_NUL)
    split: str | None = Field(None, max_length=200, pattern=WITHOUT_NUL)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.cuis is None and not has_text(self.caption):
            raise ValueError(
                "neither a caption nor cuis" if "caption" not in self.model_fields_set else "empty caption, and no cuis"
            )
        return self


class ImagesRequest(Request):
    items: list[ImageItem] = Field(min_length=1, max_length=MAX_ITEMS)
    on_conflict: Literal["reject", "replace"] = "reject"


class ItemOutcome(Answer):
    image_id: str
    outcome: Outcome
    cuis: list[Cui] = Field([])
    code: str | None = None
    reason: str | None = None


class UnknownCui(Answer):
    """A CUI given that the vocabulary lacks: it is stored, without a name and without ancestors."""

    cui: Cui
    image_id: str = Field(description="the first image that it was given for")
    line: int | None = Field(None, description="line of the image in the unpacked body of a job, from 1")


class ImagesResponse(Answer):
    results: list[ItemOutcome]
    counts: dict[Outcome, int]
    unknown_cuis: int = Field(0, description="CUIs given that the vocabulary lacks, each counted once")
    first_unknown_cuis: list[UnknownCui] = Field([], description="the first of them")


class Attribute(Answer):
    """A `has_attribute` edge: the concept, where it is in the caption, and why it was found."""

    cui: Cui
    name: str = ""
    groups: list[str] = Field([], description="UMLS semantic groups of the concept, such as DISO")
    text: str = ""
    start: int = -1
    end: int = -1
    score: float = 1.0
    rule: str = "given"
    assertion: Assertion = "present"
    linker: str = "given"


class ImageOut(Answer):
    image_id: str
    caption: str
    caption_sha256: str
    dataset: str | None
    split: str | None
    ingested_at: str
    attributes: list[Attribute]


class ImagePage(Answer):
    images: list[ImageOut]
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)
