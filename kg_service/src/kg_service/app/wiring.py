"""The parts that the service stands on, opened when they are first needed and kept; what can't be opened is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from nbclip.errors import NBClipError, NotFound, Unavailable

from kg_service.config import Settings
from kg_service.graph import open_store
from kg_service.graph.store import GraphStore
from kg_service.linking.linkers import linker_settings
from kg_service.linking.model import Linker
from kg_service.linking.semantic_groups import groups_of
from kg_service.linking.settings import LinkerSettings
from kg_service.snapshot import SnapshotFolder
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

Part = TypeVar("Part")
Place = TypeVar("Place")
_LOCAL = ("store", "vocabulary", "linker", "snapshot")


class Wiring:
    """Store, vocabulary, linker and snapshots of one data folder; safe to share by threads.

    Each raises Unavailable where it is not there yet, and BrokenArtefact where it is damaged.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.snapshots = SnapshotFolder(settings.snapshots_folder)
        self._lock = threading.RLock()
        self._store: GraphStore | None = None
        self._vocabulary: Vocabulary | None = None
        self._linker: Linker | None = None

    @property
    def store(self) -> GraphStore:
        """The graph."""
        with self._lock:
            if self._store is None:
                self._store = open_graph(self.settings)
            return self._store

    @property
    def vocabulary(self) -> Vocabulary:
        """The compiled vocabulary."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = _present(open_vocabulary, self.settings.vocabulary_folder)
            return self._vocabulary

    @property
    def linker(self) -> Linker:
        """The linker over the vocabulary."""
        with self._lock:
            if self._linker is None:
                self._linker = _present(self._build_linker, linker_settings(self.settings))
            return self._linker

    def _build_linker(self, settings: LinkerSettings) -> Linker:
        # A second of libraries that targets need not wait for.
        from kg_service.linking.builder import build_linker

        return build_linker(self.settings.linker, self.vocabulary, settings)

    def failures(self) -> dict[str, NBClipError]:
        """Why wiring can't be used, by part; runs a real query on the store. Empty: ready."""
        return self.local_failures() | self._failures({"store": lambda: self.store.check()})

    def local_failures(self, names: Sequence[str] = _LOCAL) -> dict[str, NBClipError]:
        """As `failures`, without asking the store; opens what the service stands on, or the parts that are named."""
        checks: dict[str, Callable[[], object]] = {
            "store": lambda: self.store,
            "vocabulary": lambda: self.vocabulary,
            "linker": lambda: self.linker,
            "snapshot": lambda: self.snapshots.open(),
        }
        return self._failures({name: checks[name] for name in names})

    def _failures(self, checks: Mapping[str, Callable[[], object]]) -> dict[str, NBClipError]:
        failures = {}
        for name, check in checks.items():
            try:
                check()
            except NBClipError as error:
                failures[name] = error
        return failures

    def name_of(self, cui: str) -> str:
        """The concept's preferred name; empty where names are switched off or the vocabulary does not have it."""
        return self.vocabulary.preferred_name(cui) if self.settings.show_names and cui in self.vocabulary else ""

    def groups_of(self, cui: str) -> list[str]:
        """The concept's semantic groups; none where the vocabulary does not have it."""
        return list(groups_of(self.vocabulary.semantic_types(cui))) if cui in self.vocabulary else []

    def close(self) -> None:
        """Closes the store, until it is needed again."""
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


def _present(open_part: Callable[[Place], Part], place: Place) -> Part:
    """What is not there yet is not for the client to mend: Unavailable (503), not NotFound (404)."""
    try:
        return open_part(place)
    except NotFound as error:
        raise Unavailable(error.message, hint=error.hint) from error
