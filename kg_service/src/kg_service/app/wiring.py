"""The parts of a data folder, opened when first needed and kept; what can't be opened is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nbclip.errors import InvalidInput, NBClipError, NotFound

from kg_service.app.readiness import failures
from kg_service.config import Settings
from kg_service.errors import MissingPart, ReadOnly
from kg_service.graph import open_store, store_file
from kg_service.graph.store import GraphStore
from kg_service.linking.linkers import linker_settings
from kg_service.linking.model import Linker
from kg_service.snapshot import SnapshotFolder
from kg_service.storage.writing import check_writable
from kg_service.vocabulary.semantic_groups import groups_of
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

Part = TypeVar("Part")
Place = TypeVar("Place")


class Wiring:
    """Store, vocabulary, linker and snapshots of one data folder; safe to share by threads.

    Each raises MissingPart where it is not there yet, and BrokenArtefact where it is damaged; where the settings say that it only
    reads, the store raises ReadOnly, and so does a vocabulary that is not there.

    Args:
        settings: name the folder.
        first_bytes: as `SnapshotFolder` takes it.
    """

    def __init__(self, settings: Settings, *, first_bytes: int | None = None) -> None:
        self.settings = settings
        self.snapshots = SnapshotFolder(settings.snapshots_folder, first_bytes=first_bytes)
        self._lock = threading.RLock()
        self._store: GraphStore | None = None
        self._vocabulary: Vocabulary | None = None
        self._linker: Linker | None = None

    @property
    def store(self) -> GraphStore:
        """The graph."""
        refuse_read_only(self.settings)
        with self._lock:
            if self._store is None:
                self._store = _present(open_graph, self.settings)
            return self._store

    @property
    def vocabulary(self) -> Vocabulary:
        """The compiled vocabulary."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = _present(self._open_vocabulary, self.settings.vocabulary_folder)
            return self._vocabulary

    def _open_vocabulary(self, folder: Path) -> Vocabulary:
        try:
            return open_vocabulary(folder)
        except NotFound as error:
            if self.settings.read_only:  # it may be left out for good, so who asks shall not wait for it
                lacks = "this service only reads (KG_READ_ONLY) and has no vocabulary"
                remedy = f"mount the writer's {folder.name}/ and {folder.name}.names/ where KG_VOCABULARY says"
                raise ReadOnly(self.settings.writer, lacks, remedy) from error
            raise

    @property
    def linker(self) -> Linker:
        """The linker over the vocabulary."""
        with self._lock:
            if self._linker is None:
                self._linker = _present(self._build_linker, self.settings)
            return self._linker

    def _build_linker(self, settings: Settings) -> Linker:
        # A second of libraries that targets need not wait for.
        from kg_service.linking.builder import build_linker
        from kg_service.linking.languages import warn_of_languages

        warn_of_languages(self.vocabulary)
        return build_linker(settings.linker, self.vocabulary, linker_settings(settings, self.vocabulary))

    def checks(self) -> dict[str, Callable[[], object]]:
        """Of each part one that raises where it can't be used; that of the store asks it something."""
        return {
            "data": lambda: check_room(self.settings),
            "store": lambda: self.store.check(),
            "vocabulary": lambda: self.vocabulary,
            "linker": lambda: self.linker,
            "snapshot": lambda: self.snapshots.open(),
        }

    def local_failures(self) -> dict[str, NBClipError]:
        """Why store, vocabulary or snapshot can't be opened, by part; the store is not asked anything."""
        parts = ("vocabulary", "snapshot") if self.settings.read_only else ("store", "vocabulary", "snapshot")
        return failures({**self.checks(), "store": lambda: self.store}, parts)

    def name_of(self, cui: str) -> str:
        """The concept's preferred name; empty where names are switched off, the vocabulary lacks it, or a replica has none."""
        if not self.settings.show_names:
            return ""
        try:
            vocabulary = self.vocabulary
        except ReadOnly:
            return ""  # what is served without a vocabulary is served without names
        return vocabulary.preferred_name(cui) if cui in vocabulary else ""

    def groups_of(self, cui: str) -> list[str]:
        """The concept's semantic groups; none where the vocabulary does not have it."""
        return list(groups_of(self.vocabulary.semantic_types(cui))) if cui in self.vocabulary else []

    def close(self) -> None:
        """Closes the store, until it is needed again, and ends what verifies snapshots."""
        self.snapshots.close()
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def open_graph(settings: Settings, url: str = "", *, bulk: bool = False, read_only: bool = False) -> GraphStore:
    """The graph store that the settings name, or the one at `url` with their login; arguments and errors as `open_store`."""
    return open_store(
        url or settings.store_url,
        user=settings.store_user,
        password=settings.store_password.get_secret_value(),
        mirror=settings.mirror_folder,
        bulk=bulk,
        read_only=read_only,
    )


def check_room(settings: Settings) -> None:
    """Raises Unavailable if the data folder, or that of the graph's file, can't be written; ReadOnly if it is not to be."""
    refuse_read_only(settings)
    check_writable(settings.data)
    file = store_file(settings.store_url)
    if file is not None:
        check_writable(file.parent)


def refuse_read_only(settings: Settings) -> None:
    """Raises ReadOnly where the settings say that this service only reads."""
    if settings.read_only:
        raise ReadOnly(settings.writer)


def _present(open_part: Callable[[Place], Part], place: Place) -> Part:
    """What is not there yet, or set wrongly, is not for the client to mend: MissingPart (503), not NotFound or InvalidInput."""
    try:
        return open_part(place)
    except (NotFound, InvalidInput) as error:
        raise MissingPart(error.message, hint=error.hint) from error
