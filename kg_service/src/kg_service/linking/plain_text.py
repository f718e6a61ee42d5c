"""A text without the traces of the programs that it came through, and the way back to its characters.

Characters that nobody sees go (soft hyphens, zero width spaces). Look-alikes of apostrophe, hyphen and space, ligatures and
full-width forms become the plain characters. Lines that were broken at a width are joined; those of a list stay apart.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

Span = tuple[int, int]

_UNSEEN = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
_SPACES = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_APOSTROPHES = "`\u00b4\u02b9\u02bb-\u02bd\u02c8\u02ca\u02cb\u2018\u2019\u201b\u2032\u2035\uff07\uff40"
_HYPHENS = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
_LIGATURES = {"œ": "oe", "æ": "ae", "Œ": "Oe", "Æ": "Ae", "ĳ": "ij", "Ĳ": "IJ"}
_COMPATIBLE = "\u2160-\u217f\ufb00-\ufb06\uff01-\uff5e"
"""Roman numerals, Latin ligatures and full-width forms: Unicode says what they stand for."""


_EVERY = "".join(map(chr, range(0x10000)))


def _members(characters: str) -> list[str]:
    """The characters of a class as regular expressions have it."""
    return re.findall(f"[{characters}]", _EVERY)


_PLAIN: dict[str, str] = {
    **{c: unicodedata.normalize("NFKC", c) for c in _members(_COMPATIBLE)},
    **dict.fromkeys(_members(_UNSEEN), ""),
    **dict.fromkeys(_members(_SPACES), " "),
    **dict.fromkeys(_members(_APOSTROPHES), "'"),
    **dict.fromkeys(_members(_HYPHENS), "-"),
    **_LIGATURES,
}
_NOT_PLAIN = re.compile(f"[{''.join(map(re.escape, _PLAIN))}]")
_OTHER_LENGTH = re.compile(f"[{''.join(re.escape(c) for c, plain in _PLAIN.items() if len(plain) != 1)}]")
_UNSEEN_BREAK = "\u200b"

_LINE_END = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_LIST_ITEM = re.compile(r"[-+*?•◦▪‣●■►·–—]|\(?(?:\d{1,2}|[A-Za-z])[.)](?:\s|$)|[A-Z][A-Za-z /]{0,40}:")
_GOES_ON = re.compile(
    r"(?:[,/(]|\w-|\b(?:of|and|or|nor|no|not|without|with|the|an?|in|on|at|to|for|from|by|into|within|near|between|than|as|if|but"
    r"|is|are|was|were|be|been|has|have|had|may|might|can|could|likely|possible|probable|any|either|neither|both|versus|vs\.?"
    r"|this|that|these|those|which|due|suggestive|suspicious|consistent|compatible|evidence|signs))$",
    re.IGNORECASE,
)
_ADJECTIVE = re.compile(r"(?:al|ar|ic|ive|ous)$", re.IGNORECASE)
_ITEM_OF_ITS_OWN = re.compile(r"(?:no|normal)\b")
_FULL_STOP = re.compile(r"\.(?:\s|$)")
_CONTINUES = re.compile(
    r"[(%,.;)]|(?:of|and|or|nor|with|without|in|on|at|to|for|from|by|than|is|are|was|were|seen|noted|which|that)\b"
)
_LEAST_WIDTH = 40
"""Of lines, in characters, that were surely broken at a width: narrower ones tell nothing of the lines beside them."""


class PlainText(NamedTuple):
    """A text made plain. A tuple, because every caption has one.

    Attributes:
        text: the plain text.
        sources: for each of its characters, which of the original's it comes from; None: the one at the same place.
    """

    text: str
    sources: Sequence[int] | None = None

    def outer(self, start: int, end: int) -> Span:
        """The original's characters that a span of the plain text (not empty, end exclusive) comes from."""
        return (start, end) if self.sources is None else (self.sources[start], self.sources[end - 1] + 1)

    def inner(self, start: int, end: int) -> Span:
        """What of the plain text comes from a span of the original."""
        return (start, end) if self.sources is None else (bisect_left(self.sources, start), bisect_left(self.sources, end))


def read_plain(text: str) -> PlainText:
    """The text made plain."""
    if "\n" in text or "\r" in text:
        text = _with_joined_lines(text)
    if text.isascii():
        return PlainText(text.replace("`", "'"))
    if not _NOT_PLAIN.search(text):
        return PlainText(text)
    if not _OTHER_LENGTH.search(text):
        return PlainText(_NOT_PLAIN.sub(lambda found: _PLAIN[found[0]], text))
    pieces = [_PLAIN.get(c, c) for c in text]
    return PlainText("".join(pieces), [place for place, piece in enumerate(pieces) for _ in piece])


def plain(text: str) -> str:
    """The text made plain, where places don't matter."""
    return read_plain(text).text


def _with_joined_lines(text: str) -> str:
    """The text, of the same length, with spaces for the line ends inside a sentence and `\\n` for all others."""
    lines = text.splitlines(keepends=True)
    bodies = [line.rstrip(_LINE_END) for line in lines]
    joined = _are_joined([body.strip() for body in bodies])
    return "".join(
        body + _line_end(body, next_body, joins) * (len(line) - len(body))
        for line, body, next_body, joins in zip(lines, bodies, [*bodies[1:], ""], [*joined, False], strict=True)
    )


def _line_end(body: str, next_body: str, joins: bool) -> str:
    """What stands for the characters that end a line: nothing that is seen where a word was broken after its hyphen."""
    if not joins:
        return "\n"
    return _UNSEEN_BREAK if body[-2:-1].isalpha() and body[-1:] == "-" and next_body[:1].islower() else " "


def _are_joined(lines: Sequence[str]) -> list[bool]:
    """For each two neighbouring lines whether they were one: by the words around the break, or else by the width of the lines."""
    sure: list[bool | None] = []
    is_prose = any(map(_FULL_STOP.search, lines))
    case_tells = is_prose or not lines[0][:1].islower()
    for line, following in pairwise(lines):
        sure.append(_is_joined(line, following, case_tells, is_prose))
        if not sure[-1]:
            case_tells = is_prose or not following[:1].islower()
    width = max((len(line) for line, joins in zip(lines, sure, strict=False) if joins), default=0)
    return [
        _fills(line, following, width) if joins is None else joins
        for (line, following), joins in zip(pairwise(lines), sure, strict=True)
    ]


def _is_joined(line: str, following: str, case_tells: bool, is_prose: bool) -> bool | None:
    """Whether two lines were one, None if their words don't say.

    A small letter goes on with a sentence (`case_tells`) unless that, or the item of a list, began with one. Where no sentence
    has a full stop (not `is_prose`), *no* and *normal* begin an item.
    """
    if not line or not following or line.endswith(":") or _LIST_ITEM.match(following):
        return False
    if _GOES_ON.search(line) or _CONTINUES.match(following.lower() if line.isupper() else following):
        return True
    is_small = following[:1].islower()
    if is_small and case_tells:
        return is_prose or not _ITEM_OF_ITS_OWN.match(following)
    return True if (is_small or line.isupper()) and _ADJECTIVE.search(line) else None


def _fills(line: str, following: str, width: int) -> bool:
    """Whether a line was broken because the next word would not have fitted into the width of the others."""
    return width >= _LEAST_WIDTH and line[-1] not in ".!?;" and len(line) + 1 + len(following.split(maxsplit=1)[0]) > width
