"""Semantic types as people write them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from nbclip.errors import InvalidInput

from kg_service.vocabulary.nearest import nearest
from kg_service.vocabulary.semantic_groups import group_names, group_types

_WORD = re.compile(r"[^\W_]+")
_SEPARATORS = re.compile(r"""[\s_,;:|()\[\]{}'"]*""")
_FORM = "write T047,T033; none can be excluded"
_Phrase = tuple[str, ...]


def semantic_types_of(
    given: Sequence[str],
    names: Mapping[str, str],
    where: str,
    setting: str = "",
    listed: str = "semantic_types in its manifest.json",
) -> tuple[str, ...]:
    """The TUIs that are meant, each once, in order.

    TUIs (`T047`), names (`Disease or Syndrome`) and semantic groups (`DISO`, `Disorders`: those of its types that there are) are
    taken in any case, beside each other, and however they are separated or quoted: by commas, spaces, semicolons, as a JSON list.

    Args:
        given: what was written, whole or split at commas.
        names: the TUIs that there are, and what each is called.
        where: what has these, for messages, such as `the vocabulary in data/vocabulary`.
        setting: what it was written as, for hints; empty: an option.
        listed: what lists them all, for hints.

    Raises:
        InvalidInput: something is none of these, which names the nearest; or another sign stands between them, such as a minus.
    """
    text = ", ".join(given)
    words = list(_WORD.finditer(text))
    phrases = _phrases(names)
    longest = max(map(len, phrases), default=0)
    found: dict[str, None] = {}
    position, read = 0, 0
    while position < len(words):
        size = _length_at(words, position, phrases, longest)
        if not size:
            end = next((at for at in range(position + 1, len(words)) if _length_at(words, at, phrases, longest)), len(words))
            raise _unknown(text[words[position].start() : words[end - 1].end()], names, where, setting, listed)
        _refuse_signs(text, read, words[position].start(), setting)
        found |= dict.fromkeys(phrases[_phrase(words[position : position + size])])
        position += size
        read = words[position - 1].end()
    _refuse_signs(text, read, len(text), setting)
    return tuple(found)


def _refuse_signs(text: str, start: int, end: int, setting: str) -> None:
    """Raises InvalidInput if anything but separators and quotes stands there."""
    if not _SEPARATORS.fullmatch(text, start, end):
        hint = f"{setting}: {_FORM}" if setting else _FORM
        raise InvalidInput(f"{text[start:end].strip()!r:.80} is no part of a semantic type, in {text!r:.80}", hint=hint)


def _phrases(names: Mapping[str, str]) -> dict[_Phrase, tuple[str, ...]]:
    """TUIs by the words that mean them."""
    found: dict[_Phrase, list[str]] = defaultdict(list)
    for group, tuis in group_types().items():
        if there := [tui for tui in tuis if tui in names]:
            for spelt in (group, group_names()[group], group_names()[group].replace("&", "and")):
                found[_phrase(list(_WORD.finditer(spelt)))] = there
    for tui, name in names.items():
        found[_phrase(list(_WORD.finditer(name)))].append(tui)
        found[_phrase(list(_WORD.finditer(tui)))] = [tui]
    return {phrase: tuple(tuis) for phrase, tuis in found.items() if phrase}


def _phrase(words: Sequence[re.Match[str]]) -> _Phrase:
    return tuple(word[0].casefold() for word in words)


def _length_at(words: Sequence[re.Match[str]], start: int, phrases: Mapping[_Phrase, object], longest: int) -> int:
    """Words of the longest known phrase that begins at `start`; 0: none does."""
    longest = min(longest, len(words) - start)
    return next((size for size in range(longest, 0, -1) if _phrase(words[start : start + size]) in phrases), 0)


def _unknown(text: str, names: Mapping[str, str], where: str, setting: str, listed: str) -> InvalidInput:
    groups = [group for group, tuis in group_types().items() if any(tui in names for tui in tuis)]
    choices = {group: group for group in groups}
    choices |= {group_names()[group]: group for group in groups}
    for tui, name in names.items():
        choices |= dict.fromkeys((tui, name), f"{tui} {name}")
    hint = f"{nearest(text, choices, groups)}, and {len(names)} types: {listed}; {_FORM}"
    return InvalidInput(
        f"no concept of {where} has the semantic type {text!r:.80}", hint=f"{setting}: {hint}" if setting else hint
    )
