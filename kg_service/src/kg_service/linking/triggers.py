"""The phrases that deny, doubt or tell of the past (`data/triggers*.tsv`), and where a sentence has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import product
from typing import Any, NamedTuple

from nbclip.schemas.linking import Assertion

from kg_service.linking.grammar import GRAMMARS, Grammar
from kg_service.linking.tables import read_table

RULING: tuple[Assertion, ...] = ("absent", "uncertain", "family", "history")
_TELLING_MARK = re.compile(r"[?±]|\+/[-−]|\([-−]\)")
_OWN_CASE = frozenset({"VS"})
_CONTRACTION = re.compile(r"(\w+)n't")
_CONTRACTED = "is are was were do does did has have had ca wo could would should"
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


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The triggers of a language, their alternatives written out.

    Attributes:
        grammar: of the language; its keys are what stands for words below.
        phrases: a tree: what may follow a word; the rule of the phrase that ends there is at `""`.
        words: words by which the language of a caption is known.
        adverbs: words that may stand inside any phrase.
        statements: words that no bare item of a list has.
        rare: words by which phrases that have one are looked for.
        units: of time: what stands before their hyphen is left out.
        short_forms: what a short form is written out as.
    """

    grammar: Grammar
    phrases: _Phrases
    words: frozenset[str]
    adverbs: frozenset[str]
    statements: frozenset[str]
    rare: frozenset[str]
    units: frozenset[str]
    short_forms: dict[str, tuple[str, ...]]


@cache
def table(language: str = "ENG") -> Table:
    """The table of a language of `GRAMMARS`; read once."""
    grammar = GRAMMARS[language]
    phrases: _Phrases = {}
    lists: dict[str, set[str]] = {name: set() for name in ("words", "adverbs", "statements", "rare", "units")}
    short_forms: dict[str, tuple[str, ...]] = {}
    for phrase, kind, side in read_table(grammar.triggers):
        for each in product(*(word.split("|") for word in phrase.split())):
            words = tuple(map(grammar.key, filter(None, each)))
            if kind in lists:
                lists[kind].update(words)
            elif kind == "short":
                short_forms[words[0]] = tuple(map(grammar.key, side.split()))
            else:
                reduce(lambda node, word: node.setdefault(word, {}), words, phrases)[""] = Rule(kind, side)
    return Table(grammar, phrases, **{name: frozenset(words) for name, words in lists.items()}, short_forms=short_forms)


def table_for(text: str, languages: Sequence[str]) -> Table:
    """The table of the language that a text has most `words` of; of equal ones, the first.

    In a text with small letters, those in capitals do not count: LA, DE and ET are short forms.
    """
    tables = list(map(table, languages))
    return max(tables, key=lambda each: _count_known(text, each)) if len(tables) > 1 else tables[0]


def _count_known(text: str, known: Table) -> int:
    shouted = text.isupper()
    tokens = [token for token in known.grammar.token.findall(text) if shouted or not token.isupper()]
    return sum(not known.words.isdisjoint(_words_of(known, token)) for token in tokens)


def phrases_of(tree: _Phrases, begun: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Rule]]:
    """All phrases of a tree, with their rules."""
    for word, below in tree.items():
        if word:
            yield from phrases_of(below, (*begun, word))
        else:
            yield begun, below


@cache
def _telling_words(known: Table) -> frozenset[str]:
    """A rare word of each ruling phrase, one that rules by itself if it has one: no trigger is in a caption without any."""
    phrases = [phrase for phrase, rule in phrases_of(known.phrases) if rule.kind in RULING]
    alone = known.rare | {phrase[0] for phrase in phrases if len(phrase) == 1}
    return frozenset(next((word for word in phrase if word in alone), max(phrase, key=len)) for phrase in phrases)


@cache
def _telling_tokens(known: Table) -> frozenset[str]:
    """All that is or is written out as a telling word."""
    telling = _telling_words(known)
    short_forms = {short for short, words in known.short_forms.items() if not telling.isdisjoint(words)}
    return telling | short_forms | {f"{word}n't" for word in _CONTRACTED.split()}


@cache
def _telling_pieces(known: Table) -> frozenset[str]:
    """The longest part of each, the last of equal ones, as texts are cut into words: `doesn` of `doesn't`, `o` of `w/o`."""
    tokens = _telling_tokens(known)
    return _telling_words(known) | {max(re.findall(r"[^\W_]+", word)[::-1], key=len, default=word) for word in tokens}


def may_tell(word: str) -> bool:
    """Whether a caption with this word (letters and digits, with joints or without) can have a trigger that rules.

    A caption none of whose words can, and none of whose marks (`may_tell_mark`), is present in all its parts.
    """
    return any(
        not _telling_pieces(known).isdisjoint(re.findall(r"[^\W_]+", known.grammar.key(word))) for known in map(table, GRAMMARS)
    )


def may_tell_mark(gap: str) -> bool:
    """Whether what stands between two words can be a trigger that rules: `?`, `+/-`, `(-)`."""
    return bool(_TELLING_MARK.search(gap))


def triggers_in(caption: str, start: int, end: int, known: Table) -> list[Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap; none if none of them rules."""
    tokens = known.grammar.token.findall(caption, start, end)
    if _telling_tokens(known).isdisjoint(map(known.grammar.key, tokens)):
        return []
    written = [_words_of(known, token) for token in tokens]
    if "VS" in tokens and caption[start:end].isupper():
        written = [("vs",) if words == ("VS",) else words for words in written]
    words = _Words(
        [word for each in written for word in each],
        [place for place, each in enumerate(written) for _ in each] if max(map(len, written)) > 1 else range(len(tokens)),
        list(known.grammar.token.finditer(caption, start, end)),
    )
    return _triggers(caption, words, end, known)


@lru_cache(8192)
def _words_of(known: Table, token: str) -> tuple[str, ...]:
    """A token as the table has it: `w/o` is without, `can't` is can not, `2-week` is week.

    VS stays as it is: it is a short form of its own, unless all is in capitals.
    """
    word = token if token in _OWN_CASE else known.grammar.key(token)
    if written_out := known.short_forms.get(word):
        return written_out
    if contraction := _CONTRACTION.fullmatch(word):
        return {"ca": "can", "wo": "will"}.get(contraction[1], contraction[1]), "not"
    last = word.rpartition("-")[2]
    return (last,) if last in known.units else (word,)


def _triggers(caption: str, words: _Words, end: int, known: Table) -> list[Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap."""
    found: list[Trigger] = []
    after = 0
    for at, word in enumerate(words.texts):
        if word in known.phrases and at >= after and (matched := _longest_at(caption, words, at, end, known)):
            rule, last = matched
            found.append(Trigger(words.start(at), words.end(last), rule))
            after = last + 1
    return found


def _longest_at(caption: str, words: _Words, at: int, end: int, known: Table) -> tuple[Rule, int] | None:
    """The longest phrase that begins at a word, adverbs inside it or not, and its last word."""
    texts = words.texts
    best, found = 0, None
    # The way on from each place that a phrase can have come to: its words so far, the adverbs left out, where it goes on.
    ways = [(known.phrases[texts[at]], 1, 0, at + 1)]
    while ways:
        node, length, skipped, after = ways.pop()
        rule = node.get("")
        if rule and length > best and (rule.side != "last" or known.grammar.clause_end.match(caption, words.end(after - 1), end)):
            best, found = length, (rule, after - 1)
        if after < len(texts):
            word = texts[after]
            if word in known.adverbs and skipped < _SKIPPED:
                ways.append((node, length, skipped + 1, after + 1))
            if word in node:
                ways.append((node[word], length + 1, skipped, after + 1))
    return found
