"""What can be set of a linker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kg_service.config import Settings

LinkerKind = Literal["dictionary", "scispacy"]
Nested = Literal["all", "distinct", "none"]


@dataclass(frozen=True, slots=True)
class LinkerSettings:
    """Plain parameters of both linkers.

    Attributes:
        semantic_types: TUIs; only concepts with one of them are linked; empty: all.
        min_score: mentions below are left out, [0, 1].
        nested: mentions inside longer ones that are kept: `all`; `distinct`, those of another concept that are of another
            semantic group (chest in chest X-ray) or a part of the body (kidney in left kidney), but not heart failure in
            congestive heart failure, which the ontology brings back; `none`. With a prior from spans that never nest, `distinct`
            is `none`.
        max_candidates: how many losing concepts a mention keeps.
        synonyms: read `renal damage` as kidney disease where it is no name itself (dictionary only).
        misspellings: read words that the vocabulary and general English lack as the nearest word that it has (dictionary only).
        prior: folder of a fitted prior (`prior.py`; dictionary only); empty: none.
        model: name or path of a spaCy pipeline that finds mentions (scispacy only); empty: a blank one.
        knowledge_base: name of a knowledge base that scispacy publishes (scispacy only); empty: the vocabulary's names.
    """

    semantic_types: tuple[str, ...] = ()
    min_score: float = 0.75
    nested: Nested = "distinct"
    max_candidates: int = 5
    synonyms: bool = True
    misspellings: bool = True
    prior: str = ""
    model: str = ""
    knowledge_base: str = ""


def linker_settings(settings: Settings) -> LinkerSettings:
    """The linker's part of the settings."""
    return LinkerSettings(
        semantic_types=settings.semantic_types,
        min_score=settings.linker_min_score,
        nested=settings.linker_nested,
        synonyms=settings.linker_synonyms,
        misspellings=settings.linker_misspellings,
        max_candidates=settings.linker_candidates,
        prior=str(settings.linker_prior or ""),
        model=settings.linker_model,
        knowledge_base=settings.linker_knowledge_base,
    )
