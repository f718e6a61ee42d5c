"""What exists and what is missing, in the order of the walk."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from nbclip.errors import InvalidInput, NBClipError, NotFound

from kg_service.app.keys import read_keys, refuse_open_bind
from kg_service.app.other_ids import open_existing_graph, refuse_other_ids
from kg_service.app.settings import check_settings, unknown_variables
from kg_service.app.wiring import Wiring, check_room
from kg_service.config import Settings
from kg_service.linking.linkers import linker_settings, paths_of
from kg_service.snapshot.manifest import PUBLISH, publish_command

_INGEST = "kg-service ingest FILE"
_TRAIN = "train"
_OTHER_IDS = "build the vocabulary again that the captions were linked with, or ingest into a new data folder: --data"
_NOT_READ = ("data", "graph")
"""Of what a service that only reads needs nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One part; `hint` says the next step where it is not well."""

    part: str
    well: bool
    message: str
    hint: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Findings on every part of a data folder; creates nothing."""
    wiring = Wiring(settings)
    looks: dict[str, Callable[[Wiring], str]] = {
        "settings": _settings,
        "data": _data,
        "vocabulary": _vocabulary,
        "linker": _linker,
        "graph": _graph,
        "snapshot": _snapshot,
        "keys": _keys,
    }
    unused = _NOT_READ if settings.read_only else ()
    try:
        return [_look(name, look, wiring) for name, look in looks.items() if name not in unused]
    finally:
        wiring.close()


def _look(name: str, look: Callable[[Wiring], str], wiring: Wiring) -> Finding:
    try:
        return Finding(name, True, look(wiring))
    except NBClipError as error:
        return Finding(name, False, error.message, error.hint)


def _settings(wiring: Wiring) -> str:
    check_settings(wiring.settings)
    unknown = unknown_variables(wiring.settings)
    if unknown:
        raise InvalidInput(
            f"no such setting: {', '.join(unknown)}", hint="unset or correct them; kg-service settings lists all settings"
        )
    return f"data in {wiring.settings.data}"


def _data(wiring: Wiring) -> str:
    check_room(wiring.settings)
    return f"{wiring.settings.data} can be written"


def _vocabulary(wiring: Wiring) -> str:
    vocabulary = wiring.vocabulary
    return f"{vocabulary.release}, {len(vocabulary)} concepts, {vocabulary.name_count} names in {vocabulary.directory}"


def _linker(wiring: Wiring) -> str:
    places = paths_of(linker_settings(wiring.settings))
    shown = ", ".join(f"{name} in {place}" for name, place in places.items())
    return f"{wiring.linker.name} ({shown})" if shown else wiring.linker.name


def _graph(wiring: Wiring) -> str:
    with closing(open_existing_graph(wiring.settings)) as store:
        store.check()
        counts = store.counts()
        if not counts.images:
            raise NotFound("no image in the graph", hint=_INGEST)
        if _has_vocabulary(wiring):
            refuse_other_ids(store, wiring.vocabulary, _OTHER_IDS)
    return ", ".join(f"{number} {kind}" for kind, number in counts.by_kind().items())


def _has_vocabulary(wiring: Wiring) -> bool:
    """Whether there is one that can be read; what is wrong with it is a finding of its own."""
    try:
        return len(wiring.vocabulary) > 0
    except NBClipError:
        return False


def _snapshot(wiring: Wiring) -> str:
    last = wiring.snapshots.published_last()
    if last is None:
        raise NotFound("no snapshot is published", hint=_publish_first(wiring.settings))
    snapshot = wiring.snapshots.open(last)
    appended = snapshot.manifest.appended
    images = f"{snapshot.manifest.images} images" + (f" ({appended.images} appended)" if appended else "")
    return f"{snapshot.id[:12]}… with {images} is served, {len(wiring.snapshots.ids())} held"


def _publish_first(settings: Settings) -> str:
    """The command for this graph: targets come from the training split alone, where captions have splits."""
    try:
        with closing(open_existing_graph(settings)) as store:
            splits = store.splits()
    except NBClipError:
        return PUBLISH
    if not splits or _TRAIN in splits:
        return publish_command(split=_TRAIN if splits else None)
    return f"{publish_command(split='SPLIT')}, the split to train on: {', '.join(splits)}"


def _keys(wiring: Wiring) -> str:
    settings = wiring.settings
    refuse_open_bind(settings)
    if not settings.keys_path.exists():
        return f"none: the service can be reached from this machine alone ({settings.uds or settings.host})"
    return ", ".join(key.name for key in read_keys(settings.keys_path))
