"""What is there and what is missing, in the order in which it is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from nbclip.errors import InvalidInput, NBClipError, NotFound

from kg_service.app.keys import read_keys, refuse_open_bind
from kg_service.app.wiring import Parts, open_graph
from kg_service.config import Settings, unknown_variables


@dataclass(frozen=True, slots=True)
class Finding:
    """One part; `hint` says the next step where it is not well."""

    part: str
    well: bool
    message: str
    hint: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Looks at every part of a data folder, and makes nothing."""
    parts = Parts(settings)
    looks: dict[str, Callable[[Parts], str]] = {
        "settings": _settings,
        "vocabulary": _vocabulary,
        "linker": _linker,
        "graph": _graph,
        "snapshot": _snapshot,
        "keys": _keys,
    }
    try:
        return [_look(name, look, parts) for name, look in looks.items()]
    finally:
        parts.close()


def _look(name: str, look: Callable[[Parts], str], parts: Parts) -> Finding:
    try:
        return Finding(name, True, look(parts))
    except NBClipError as error:
        return Finding(name, False, error.message, error.hint)


def _settings(parts: Parts) -> str:
    unknown = unknown_variables()
    if unknown:
        raise InvalidInput(f"no such setting: {', '.join(unknown)}", hint="unset or correct them; kg-service settings lists all")
    return f"data in {parts.settings.data}"


def _vocabulary(parts: Parts) -> str:
    vocabulary = parts.vocabulary
    return f"{vocabulary.release}, {len(vocabulary)} concepts, {vocabulary.name_count} names in {vocabulary.directory}"


def _linker(parts: Parts) -> str:
    prior = parts.settings.linker_prior
    return f"{parts.linker.name} (prior in {prior})" if prior else parts.linker.name


def _graph(parts: Parts) -> str:
    hint = "kg-service ingest FILE"
    if not parts.settings.store and not (parts.settings.data / "graph.sqlite").exists():
        raise NotFound("no graph yet", hint=hint)
    with closing(open_graph(parts.settings, read_only=True)) as store:
        store.check()
        counts = store.counts()
    if not counts.images:
        raise NotFound("no image in the graph", hint=hint)
    return f"{counts.images} images, {counts.concepts} concepts, {counts.attributes} attributes, {counts.is_a} is_a"


def _snapshot(parts: Parts) -> str:
    snapshot = parts.snapshots.open(parts.snapshots.current())
    appended = snapshot.manifest.appended
    images = f"{snapshot.manifest.images} images" + (f" ({appended.images} appended)" if appended else "")
    return f"{snapshot.id[:12]}… with {images} is served, {len(parts.snapshots.ids())} held"


def _keys(parts: Parts) -> str:
    settings = parts.settings
    refuse_open_bind(settings)
    if not settings.keys_path.exists():
        return f"none: the service can be reached from this machine alone ({settings.uds or settings.host})"
    return ", ".join(key.name for key in read_keys(settings.keys_path))
