"""Opens linkers."""

from __future__ import annotations

from kg_service.linking.linkers import linker_kind
from kg_service.linking.model import Linker
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary


def build_linker(name: str, vocabulary: Vocabulary, settings: LinkerSettings | None = None) -> Linker:
    """The linker of this name over `vocabulary`, by default with its default settings.

    What it looks names up in lies beside the vocabulary; it is compiled here if it is not there yet, or was made from another
    vocabulary.

    Raises:
        InvalidInput: there is no such linker, or the index can't be written.
        NotFound: the prior is not there.
        BrokenArtefact: the prior is damaged, or of another vocabulary or version of the linker.
        MissingExtra: the linker needs what is not installed.
    """
    kind = linker_kind(name)
    return kind.open(vocabulary, settings or kind.settings)
