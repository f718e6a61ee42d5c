"""Concepts of the vocabulary."""

from __future__ import annotations

from pydantic import Field

from nbclip.ids import Cui
from nbclip.schemas.base import Strict


class ConceptRef(Strict):
    cui: Cui
    name: str


class ConceptOut(ConceptRef):
    names: list[str]
    semantic_types: list[str]
    parents: list[ConceptRef]
    children: list[ConceptRef]
    ancestors: list[ConceptRef]
    image_count: int = Field(description="images of the store with a present attribute of this concept")


class ConceptPage(Strict):
    concepts: list[ConceptRef]
