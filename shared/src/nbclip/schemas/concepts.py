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


class DrawnConcept(ConceptRef):
    groups: list[str] = Field(description="UMLS semantic groups of the concept, such as DISO")


class IsA(Answer):
    """`child` is_a `parent`."""

    child: Cui
    parent: Cui
    source: str = Field(description="SAB of the vocabulary that says so")


class TypedRelation(Answer):
    """`subject` `relation` `target`: Pneumonia has_finding_site Lung."""

    subject: Cui
    relation: str = Field(description="RELA of the UMLS")
    target: Cui
    source: str = Field(description="SAB of the vocabulary that says so")


class Surroundings(Answer):
    """Concepts with all that the graph has above them and beside them, as nodes and edges."""

    concepts: list[DrawnConcept] = Field(description="those asked for, and all that the edges name")
    is_a: list[IsA]
    relations: list[TypedRelation]
