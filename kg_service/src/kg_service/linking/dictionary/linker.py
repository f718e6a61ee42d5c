"""The dictionary linker as the table has it."""

from __future__ import annotations

from kg_service.linking.dictionary.dictionary import DictionaryLinker
from kg_service.linking.dictionary.name_index import ensure_name_index
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.linkers import LinkerKind
from kg_service.vocabulary.vocabulary import Vocabulary


def open_dictionary_linker(
    vocabulary: Vocabulary,
    settings: DictionarySettings = DictionarySettings(),  # noqa: B008
) -> DictionaryLinker:
    """The dictionary linker, which alone a prior can be fitted with; errors as `build_linker`."""
    return DictionaryLinker(vocabulary, ensure_name_index(vocabulary), settings)


LINKER = LinkerKind(settings=DictionarySettings(), open=open_dictionary_linker, compile=ensure_name_index)
