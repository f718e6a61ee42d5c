"""What can be set of the dictionary linker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from kg_service.linking.settings import LinkerSettings


@dataclass(frozen=True, slots=True)
class DictionarySettings(LinkerSettings):
    """`LinkerSettings` and more."""

    synonyms: Annotated[bool, Field(description="read *renal damage* as *kidney disease* if it is not a name itself")] = True
    misspellings: Annotated[bool, Field(description="correct misspelt words")] = True
    prior: Annotated[
        Path | None,
        BeforeValidator(lambda given: given or None),
        Field(description="fitted prior (`kg-service linker fit`, dictionary only); empty: none"),
    ] = None
