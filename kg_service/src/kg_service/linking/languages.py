"""Which languages captions are read in."""

from __future__ import annotations

from functools import cache

import structlog

from kg_service.linking.grammar import GRAMMARS
from kg_service.vocabulary.vocabulary import Vocabulary

_WITHOUT_SPACES = frozenset({"CHI", "JPN"})


def languages_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Those that its captions are read in: of `GRAMMARS` those that it has names in, and English last if it has none in that."""
    named = [language for language in GRAMMARS if language in vocabulary.manifest["filters"]["languages"]]
    return tuple(dict.fromkeys([*named, "ENG"]))


def warn_of_languages(vocabulary: Vocabulary) -> None:
    """Logs a warning, once in a process, if the vocabulary has names in a language of which assertion reads nothing."""
    _warn(tuple(sorted(set(vocabulary.manifest["filters"]["languages"]) - set(GRAMMARS))))


@cache
def _warn(languages: tuple[str, ...]) -> None:
    if languages:
        unspaced = sorted(_WITHOUT_SPACES.intersection(languages))
        hint = f"; names in {', '.join(unspaced)} are found only between spaces or marks" if unspaced else ""
        structlog.get_logger().warning(
            f"assertion does not read {', '.join(languages)}: what a caption in these denies or doubts counts as present",
            hint=f"give the CUIs of such captions yourself (column cuis){hint}",
        )
