"""What can be set of a linker: as `KG_LINKER_<FIELD>`, and `KG_SEMANTIC_TYPES`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Nested = Literal["all", "distinct", "none"]


@dataclass(frozen=True, slots=True)
class LinkerSettings:
    """What every linker has; one that has more adds fields to it.

    Attributes:
        semantic_types: TUIs of the vocabulary; only concepts with one of them are linked; empty: all.
        min_score: of a mention, [0, 1].
        nested: mentions inside longer ones that are kept: `all`; `distinct`, those of another concept that are of another
            semantic group (chest in chest X-ray) or a part of the body (kidney in left kidney), but not heart failure in
            congestive heart failure, which the ontology brings back; `none`. With a prior from spans that never nest, `distinct`
            is `none`.
        candidates: how many losing concepts a mention keeps.
    """

    semantic_types: tuple[str, ...] = ()
    min_score: Annotated[float, Field(ge=0, le=1, description="mentions with a lower score are dropped")] = 0.75
    nested: Annotated[
        Nested,
        Field(description="mentions inside longer ones: `all`, `distinct` (of another semantic group, or anatomy) or `none`"),
    ] = "distinct"
    candidates: Annotated[
        int, Field(ge=0, le=100, description="maximum number of other candidates to keep with each mention")
    ] = 5
