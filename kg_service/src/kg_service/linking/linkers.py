"""The table of linkers: a new one is a file, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbclip.errors import InvalidInput

from kg_service.config import Settings, variables_of, with_settings
from kg_service.linking.model import Linker
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.semantic_types import semantic_types_of

if TYPE_CHECKING:
    from kg_service.vocabulary.vocabulary import Vocabulary

LINKERS: dict[str, str] = {
    "dictionary": "kg_service.linking.dictionary.linker:LINKER",
    "scispacy": "kg_service.linking.scispacy.linker:LINKER",
}
"""By the name that `KG_LINKER` has for it: where its `LinkerKind` is."""

Chosen = TypeVar("Chosen", bound=LinkerSettings)


@dataclass(frozen=True, slots=True)
class LinkerKind(Generic[Chosen]):
    """All that the service has to know of a linker.

    Attributes:
        settings: the defaults of what can be set; fields that it adds to `LinkerSettings` are settings of this linker alone.
        open: the linker over a vocabulary; it compiles first what lies beside the vocabulary, if that is not there yet.
        compile: does that alone, once a vocabulary is built.
    """

    settings: Chosen
    open: Callable[[Vocabulary, Chosen], Linker]
    compile: Callable[[Vocabulary], object]


def linker_kind(name: str) -> LinkerKind[Any]:
    """The linker of this name.

    Raises:
        InvalidInput: there is none; names those that there are.
    """
    if name not in LINKERS:
        raise InvalidInput(f"no linker is called {name!r:.80}", hint=f"choose one of {', '.join(LINKERS)}")
    kind: LinkerKind[Any] = resolve_name(LINKERS[name])
    return kind


def linker_settings(settings: Settings, vocabulary: Vocabulary | None = None) -> LinkerSettings:
    """What is set of the chosen linker; to open it over a vocabulary, with that: semantic types are then its TUIs.

    Raises:
        InvalidInput: there is no such linker, a value is not usable, one is set of another linker, or no concept of the
            vocabulary has a semantic type.
    """
    kind = linker_kind(settings.linker)
    _refuse_of_others(kind, settings)
    chosen: LinkerSettings = settings_of_kind(kind, settings, vocabulary)
    return chosen


def settings_of_kind(kind: LinkerKind[Chosen], settings: Settings, vocabulary: Vocabulary | None = None) -> Chosen:
    """As `linker_settings`, of this linker, whichever is chosen."""
    types = settings.semantic_types
    if vocabulary is not None:
        where = f"the vocabulary in {vocabulary.directory}"
        types = semantic_types_of(types, vocabulary.semantic_type_names, where, "KG_SEMANTIC_TYPES")
    return with_settings(replace(kind.settings, semantic_types=types), "linker", settings)


def paths_of(chosen: LinkerSettings) -> dict[str, Path]:
    """The files and folders that a linker's settings name, by field."""
    held = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    return {name: value for name, value in held.items() if isinstance(value, Path)}


def _refuse_of_others(kind: LinkerKind[Any], settings: Settings) -> None:
    own = {variable.name for variable in variables_of(kind.settings, "linker")}
    for other in LINKERS:
        for variable in variables_of(linker_kind(other).settings, "linker"):
            if variable.name not in own and settings.others.get(variable.key):
                raise InvalidInput(
                    f"{variable.name} belongs to the {other} linker, but the linker is {settings.linker}",
                    hint=f"unset it, or use --linker {other}",
                )
