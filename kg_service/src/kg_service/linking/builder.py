"""Opens the linker that the settings ask for."""

from __future__ import annotations

from pathlib import Path

from nbclip.errors import BrokenArtefact, InvalidInput, NotFound

from kg_service.linking.dictionary.dictionary import DictionaryLinker
from kg_service.linking.dictionary.name_index import NameIndex, build_name_index, open_name_index
from kg_service.linking.model import Linker
from kg_service.linking.scispacy.linker import ScispacyLinker
from kg_service.linking.settings import LinkerKind, LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary


def build_linker(kind: LinkerKind, vocabulary: Vocabulary, settings: LinkerSettings = LinkerSettings()) -> Linker:  # noqa: B008
    """A linker over `vocabulary`.

    The dictionary linker's index lies beside the vocabulary (`index_folder`); it is compiled here if it is not there yet,
    or was made from another vocabulary.

    Raises:
        InvalidInput: there is no such kind, the index can't be written, or the kind knows no prior.
        NotFound: the prior is not there.
        BrokenArtefact: the prior is damaged, or of another vocabulary or version of the linker.
        MissingExtra: scispacy is asked for and not installed.
    """
    if kind == "dictionary":
        return open_dictionary_linker(vocabulary, settings)
    if kind == "scispacy":
        if settings.prior:
            raise InvalidInput("a prior is for the dictionary linker", hint="unset KG_LINKER_PRIOR, or use --linker dictionary")
        return ScispacyLinker(vocabulary, settings)
    raise InvalidInput(f"no linker is called {kind!r}", hint="use dictionary or scispacy")


def open_dictionary_linker(vocabulary: Vocabulary, settings: LinkerSettings = LinkerSettings()) -> DictionaryLinker:  # noqa: B008
    """The dictionary linker, which alone a prior can be fitted with; errors as `build_linker`."""
    return DictionaryLinker(vocabulary, _index_of(vocabulary), settings)


def index_folder(vocabulary_dir: Path) -> Path:
    """Where the name index of a vocabulary lies: `<vocabulary>.names`, beside it."""
    return vocabulary_dir.with_name(f"{vocabulary_dir.name}.names")


def prior_folder(vocabulary_dir: Path) -> Path:
    """Where a fitted prior lies unless another place is named: `<vocabulary>.prior`, beside it."""
    return vocabulary_dir.with_name(f"{vocabulary_dir.name}.prior")


def _index_of(vocabulary: Vocabulary) -> NameIndex:
    folder = index_folder(vocabulary.directory)
    try:
        return open_name_index(folder, vocabulary)
    except (NotFound, BrokenArtefact):
        build_name_index(vocabulary, folder)
        return open_name_index(folder, vocabulary)
