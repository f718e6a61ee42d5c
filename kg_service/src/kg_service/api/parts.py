"""The parts that the service stands on, opened when they are first needed and kept; what can't be opened is tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nbclip_shared.errors import NBClipError, NotFound, Unavailable

from kg_service.config import Settings
from kg_service.graph import open_store
from kg_service.graph.store import GraphStore
from kg_service.linking.builder import build_linker
from kg_service.linking.model import Linker
from kg_service.linking.settings import LinkerSettings
from kg_service.representations.hybrid import Hybrid
from kg_service.snapshot import SnapshotFolder
from kg_service.vocabulary.vocabulary import Vocabulary, open_vocabulary

Part = TypeVar("Part")


class Parts:
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
                self._linker = build_linker(self.settings.linker, self.vocabulary, linker_settings(self.settings))
            return self._linker

    def failures(self) -> dict[str, NBClipError]:
        """Why parts can't be used, by part; runs a real query on the store. Empty: ready."""
        checks: dict[str, Callable[[], object]] = {
            "store": lambda: self.store.check(),
            "vocabulary": lambda: self.vocabulary,
            "linker": lambda: self.linker,
            "snapshot": lambda: self.snapshots.open(),
        }
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

    def close(self) -> None:
        """Closes the store, until it is needed again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


def open_graph(settings: Settings, url: str = "", *, bulk: bool = False) -> GraphStore:
    """The graph store that the settings name, or the one at `url` with their login; arguments and errors as `open_store`."""
    return open_store(
        url or settings.store_url,
        user=settings.store_user,
        password=settings.store_password.get_secret_value(),
        mirror=settings.mirror_folder,
        bulk=bulk,
    )


def linker_settings(settings: Settings) -> LinkerSettings:
    """The linker's part of the settings."""
    return LinkerSettings(
        semantic_types=settings.semantic_types,
        min_score=settings.linker_min_score,
        nested=settings.linker_nested,
        max_candidates=settings.linker_candidates,
        model=settings.linker_model,
    )


def hybrid_of(settings: Settings) -> Hybrid:
    """The hybrid representation with the parameters that are set."""
    return Hybrid(
        decay=settings.hybrid_decay,
        max_distance=settings.hybrid_max_distance,
        hub_share=settings.hybrid_hub_share,
        smoothing=settings.hybrid_smoothing,
        smoothing_dimension=settings.hybrid_smoothing_dimension,
    )


def _present(open_part: Callable[[Path], Part], folder: Path) -> Part:
    """What is not there yet is not for the client to mend: Unavailable (503), not NotFound (404)."""
    try:
        return open_part(folder)
    except NotFound as error:
        raise Unavailable(error.message, hint=error.hint) from error
