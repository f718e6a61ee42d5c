"""A linker of its own, as somebody outside would write it: words that are the preferred name of a concept.

Its index, names in JSON, lies beside the vocabulary.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from kg_service.linking.linkers import LinkerKind
from kg_service.linking.model import LinkedCaption, Mention
from kg_service.linking.settings import LinkerSettings
from kg_service.vocabulary.vocabulary import Vocabulary
from pydantic import Field


@dataclass(frozen=True, slots=True)
class OwnSettings(LinkerSettings):
    least_letters: Annotated[int, Field(ge=1, description="letters of a word that is read")] = 3


class OwnLinker:
    def __init__(self, concepts: dict[str, str], least: int) -> None:
        self._concepts = concepts
        self._least = least

    @property
    def name(self) -> str:
        return f"own-{self._least}"

    def link(self, captions: Sequence[str]) -> list[LinkedCaption]:
        return [LinkedCaption(caption, tuple(self._mentions(caption))) for caption in captions]

    def _mentions(self, caption: str) -> Iterator[Mention]:
        for word in re.finditer(r"\w+", caption):
            cui = self._concepts.get(word[0].lower())
            if cui and len(word[0]) >= self._least:
                yield Mention(cui, word[0], word[0], word.start(), word.end(), 1.0, "exact", "present")


def _index(vocabulary: Vocabulary) -> Path:
    file = vocabulary.directory.with_name(f"{vocabulary.directory.name}.own.json")
    if not file.exists():
        file.write_text(json.dumps({vocabulary.preferred_name(cui).lower(): cui for cui in vocabulary}))
    return file


def _open(vocabulary: Vocabulary, settings: OwnSettings) -> OwnLinker:
    return OwnLinker(json.loads(_index(vocabulary).read_text()), settings.least_letters)


LINKER = LinkerKind(settings=OwnSettings(), open=_open, compile=_index)
