"""Concepts that a service's linker finds in captions: labels of every image, and no gold ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nbclip.client import Service
from nbclip.errors import InvalidInput
from nbclip.schemas.base import MAX_CAPTION_CHARACTERS

_BATCH = 256


@dataclass(frozen=True, slots=True)
class LinkedCuis:
    """What a linker found.

    Attributes:
        linker: its name and version, such as `dictionary-6`.
        source: the service.
        cuis: of each caption the CUIs of its present mentions.
        names: of these CUIs.
    """

    linker: str
    source: str
    cuis: tuple[frozenset[str], ...]
    names: Mapping[str, str] = field(default_factory=dict)


def link_captions(service: Service, captions: Sequence[str]) -> LinkedCuis:
    """The present concepts of captions; what a caption denies, doubts, or says of relatives or of the past is left out.

    Raises:
        InvalidInput: a caption is longer than the service takes, or its linker changed meanwhile.
        ServiceAway: the service doesn't answer.
        NBClipError: it refuses.
    """
    found: dict[str, frozenset[str]] = {}
    names: dict[str, str] = {}
    linkers: set[str] = set()
    distinct = list(dict.fromkeys(captions))
    for caption in distinct:
        if len(caption) > MAX_CAPTION_CHARACTERS:
            raise InvalidInput(
                f"a caption of {len(caption)} characters, and the linker takes {MAX_CAPTION_CHARACTERS}: {caption:.60}…",
                hint="shorten it, or evaluate without --link",
            )
    for start in range(0, len(distinct), _BATCH):
        asked = distinct[start : start + _BATCH]
        answer = service.link(asked)
        linkers.add(answer.linker)
        for caption, result in zip(asked, answer.results, strict=True):
            present = [mention for mention in result.mentions if mention.assertion == "present"]
            found[caption] = frozenset(mention.cui for mention in present)
            names.update((mention.cui, mention.name) for mention in present)
    if len(linkers) > 1:
        raise InvalidInput(
            f"{service.url}: its linker changed while it was asked: {', '.join(sorted(linkers))}", hint="evaluate again"
        )
    return LinkedCuis(next(iter(linkers), ""), service.url, tuple(found[caption] for caption in captions), names)
