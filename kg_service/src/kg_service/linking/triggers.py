"""The phrases that deny, doubt or tell of the past (`data/triggers.tsv`), and where a sentence has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import product
from typing import Any, NamedTuple

from nbclip.schemas.linking import Assertion

from kg_service.linking.tables import read_table

RULING: tuple[Assertion, ...] = ("absent", "uncertain", "family", "history")
_TOKEN = re.compile(r"\+/-|(?<!\w)[-+]ve\b|(?<!\w)(?<![)\]]-)\w+(?:['/-]\w+)*|(?<!\S)-+|[:.?±=–—]")
_TELLING_MARK = re.compile(r"[?±]|\+/[-−]")
_OWN_CASE = frozenset({"VS"})
_CONTRACTION = re.compile(r"(\w+)n't")
_CONTRACTED = "is are was were do does did has have had ca wo could would should"
_CLAUSE_END = re.compile(
    r"\s*(?:[,.;?)\n]|$|(?:in|on|at|by|from|after|since|following)\b|(?-i:[A-Z][\w /]{0,40}[:=]))", re.IGNORECASE
)
_SKIPPED = 4
"""Adverbs that may stand inside a phrase."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a phrase does: `kind` is an assertion, `stop`, `show` or `pseudo`; `side` as `data/triggers.tsv` explains it."""

    kind: str
    side: str

    def stops(self, side: str) -> bool:
        """Whether it ends the scopes on this side of their trigger."""
        if self.kind in {"stop", "show"}:
            return self.side in {side, "both"}
        return side == "after" and self.kind in {"family", "history"}


class _Words(NamedTuple):
    """The words and marks of a sentence.

    Attributes:
        texts: as the table writes them, short forms written out.
        owners: of which token each is.
        tokens: as the caption has them.
    """

    texts: list[str]
    owners: Sequence[int]
    tokens: list[re.Match[str]]

    def start(self, word: int) -> int:
        """Where its token begins."""
        return self.tokens[self.owners[word]].start()

    def end(self, word: int) -> int:
        """Where its token ends."""
        return self.tokens[self.owners[word]].end()


@dataclass(frozen=True, slots=True)
class Trigger:
    """A phrase of the table in a caption."""

    start: int
    end: int
    rule: Rule


_Phrases = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """`data/triggers.tsv`, its alternatives written out.

    Attributes:
        phrases: a tree: what may follow a word; the rule of the phrase that ends there is at `""`.
        adverbs: words that may stand inside any phrase.
        statements: words that no bare item of a list has.
        rare: words by which phrases that have one are looked for.
        units: of time: what stands before their hyphen is left out.
        short_forms: what a short form is written out as.
    """

    phrases: _Phrases
    adverbs: frozenset[str]
    statements: frozenset[str]
    rare: frozenset[str]
    units: frozenset[str]
    short_forms: dict[str, tuple[str, ...]]


@cache
def table() -> Table:
    """The table; read once."""
    phrases: _Phrases = {}
    lists: dict[str, set[str]] = {"adverbs": set(), "statements": set(), "rare": set(), "units": set()}
    short_forms: dict[str, tuple[str, ...]] = {}
    for phrase, kind, side in read_table("triggers.tsv"):
        for each in product(*(word.split("|") for word in phrase.split())):
            words = tuple(filter(None, each))
            if kind in lists:
                lists[kind].update(words)
            elif kind == "short":
                short_forms[words[0]] = tuple(side.split())
            else:
                reduce(lambda node, word: node.setdefault(word, {}), words, phrases)[""] = Rule(kind, side)
    return Table(phrases, **{name: frozenset(words) for name, words in lists.items()}, short_forms=short_forms)


def phrases_of(tree: _Phrases, begun: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Rule]]:
    """All phrases of a tree, with their rules."""
    for word, below in tree.items():
        if word:
            yield from phrases_of(below, (*begun, word))
        else:
            yield begun, below


@cache
def _telling_words() -> frozenset[str]:
    """A rare word of each ruling phrase, one that rules by itself if it has one: no trigger is in a caption without any."""
    phrases = [phrase for phrase, rule in phrases_of(table().phrases) if rule.kind in RULING]
    alone = table().rare | {phrase[0] for phrase in phrases if len(phrase) == 1}
    return frozenset(next((word for word in phrase if word in alone), max(phrase, key=len)) for phrase in phrases)


@cache
def _telling_tokens() -> frozenset[str]:
    """All that is or is written out as a telling word."""
    short_forms = {short for short, words in table().short_forms.items() if not _telling_words().isdisjoint(words)}
    return _telling_words() | short_forms | {f"{word}n't" for word in _CONTRACTED.split()}


@cache
def _telling_pieces() -> frozenset[str]:
    """The longest part of each, the last of equal ones, as texts are cut into words: `doesn` of `doesn't`, `o` of `w/o`."""
    return _telling_words() | {max(re.findall(r"[^\W_]+", word)[::-1], key=len, default=word) for word in _telling_tokens()}


def may_tell(word: str) -> bool:
    """Whether a caption with this word (letters and digits, with joints or without) can have a trigger that rules.

    A caption none of whose words can, and none of whose marks (`may_tell_mark`), is present in all its parts.
    """
    return not _telling_pieces().isdisjoint(re.findall(r"[^\W_]+", word.lower()))


def may_tell_mark(gap: str) -> bool:
    """Whether what stands between two words can be a trigger that rules: `?`, `+/-`."""
    return bool(_TELLING_MARK.search(gap))


def triggers_in(caption: str, start: int, end: int) -> list[Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap; none if none of them rules."""
    tokens = _TOKEN.findall(caption, start, end)
    if _telling_tokens().isdisjoint(map(str.lower, tokens)):
        return []
    written = list(map(_words_of, tokens))
    if "VS" in tokens and caption[start:end].isupper():
        written = [("vs",) if words == ("VS",) else words for words in written]
    words = _Words(
        [word for each in written for word in each],
        [place for place, each in enumerate(written) for _ in each] if max(map(len, written)) > 1 else range(len(tokens)),
        list(_TOKEN.finditer(caption, start, end)),
    )
    return _triggers(caption, words, end)


def ends_clause(caption: str, place: int, end: int) -> bool:
    """Whether a clause ends at a place of a sentence that ends at `end`: with a mark, a preposition, or the head of another."""
    return bool(_CLAUSE_END.match(caption, place, end))


@lru_cache(4096)
def _words_of(token: str) -> tuple[str, ...]:
    """A token as the table has it: `w/o` is without, `can't` is can not, `2-week` is week.

    VS stays as it is: it is a short form of its own, unless all is in capitals.
    """
    word = token if token in _OWN_CASE else token.lower()
    if known := table().short_forms.get(word):
        return known
    if contraction := _CONTRACTION.fullmatch(word):
        return {"ca": "can", "wo": "will"}.get(contraction[1], contraction[1]), "not"
    last = word.rpartition("-")[2]
    return (last,) if last in table().units else (word,)


def _triggers(caption: str, words: _Words, end: int) -> list[Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap."""
    phrases = table().phrases
    found: list[Trigger] = []
    after = 0
    for at, word in enumerate(words.texts):
        if word in phrases and at >= after and (matched := _longest_at(caption, words, at, end)):
            rule, last = matched
            found.append(Trigger(words.start(at), words.end(last), rule))
            after = last + 1
    return found


def _longest_at(caption: str, words: _Words, at: int, end: int) -> tuple[Rule, int] | None:
    """The longest phrase that begins at a word, adverbs inside it or not, and its last word."""
    texts = words.texts
    known = table()
    best, found = 0, None
    # The way on from each place that a phrase can have come to: its words so far, the adverbs left out, where it goes on.
    ways = [(known.phrases[texts[at]], 1, 0, at + 1)]
    while ways:
        node, length, skipped, after = ways.pop()
        rule = node.get("")
        if rule and length > best and (rule.side != "last" or ends_clause(caption, words.end(after - 1), end)):
            best, found = length, (rule, after - 1)
        if after < len(texts):
            word = texts[after]
            if word in known.adverbs and skipped < _SKIPPED:
                ways.append((node, length, skipped + 1, after + 1))
            if word in node:
                ways.append((node[word], length + 1, skipped, after + 1))
    return found
