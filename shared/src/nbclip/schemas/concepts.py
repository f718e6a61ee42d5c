"""Concepts of the vocabulary."""

from __future__ import annotations

from pydantic import Field

from nbclip.ids import Cui
from nbclip.schemas.base import NEXT_CURSOR, Answer


class ConceptRef(Answer):
    cui: Cui
    name: str


class ConceptOut(ConceptRef):
    names: list[str]
    semantic_types: list[str]
    parents: list[ConceptRef]
    children: list[ConceptRef]
    ancestors: list[ConceptRef]
    image_count: int | None = Field(
        description="number of images that have this concept as present; null while the graph store does not answer"
    )


class ConceptPage(Answer):
    concepts: list[ConceptRef]
    next_cursor: str | None = Field(None, description=NEXT_CURSOR)
