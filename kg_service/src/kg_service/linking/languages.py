"""Which languages captions are read in."""

from __future__ import annotations

from functools import cache

import structlog

from kg_service.vocabulary.vocabulary import Vocabulary

_READ = "ENG"
_WITHOUT_SPACES = frozenset({"CHI", "JPN"})


def warn_of_languages(vocabulary: Vocabulary) -> None:
    """Logs a warning, once in a process, if the vocabulary has names in a language of which assertion reads nothing."""
    _warn(tuple(sorted(set(vocabulary.manifest["filters"]["languages"]) - {_READ})))


@cache
def _warn(languages: tuple[str, ...]) -> None:
    if languages:
        unspaced = sorted(_WITHOUT_SPACES.intersection(languages))
        hint = f"; names in {', '.join(unspaced)} are found only between spaces or marks" if unspaced else ""
        structlog.get_logger().warning(
            f"assertion reads English only: what a caption in {', '.join(languages)} denies or doubts counts as present",
            hint=f"give the CUIs of such captions yourself (column cuis){hint}",
        )
