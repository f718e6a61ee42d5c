"""Whether a caption says that a finding is there: rules after NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009).

A trigger (`data/triggers.tsv`) rules the mentions on one side of it, as far as its sentence, its parenthesis and its list go, or
up to a word that ends its scope. A prepositional phrase stays outside: `no lesion in the liver` does not deny the liver.
Absent outweighs uncertain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from nbclip.schemas.linking import Assertion

from kg_service.linking.tables import read_table

Span = tuple[int, int]

# A full stop ends a sentence before white space or a capital; a panel label such as (b) begins one.
# `?` before a word (? pneumonia) ends none.
_SENTENCE_END = re.compile(r"(?:[.!](?<!\b(?:vs|no)\.)|(?<=[\w)])\?)(?=\s|$|[A-Z])|[;\n]|\([A-Za-z]\)\s")
_TOKEN = re.compile(r"\+/[-−]|[\w'’/−-]+|[:.?±–—]")
_TELLING_MARK = re.compile(r"[?±]|\+/[-−]")
_CLAUSE_END = re.compile(r"\s*(?:[,.;?)]|$|(?:in|on|at|from|after|since|following)\b)", re.IGNORECASE)
_RULING: tuple[Assertion, ...] = ("absent", "uncertain")
_HINTS = frozenset({"not", "cannot", "can't", "may", "might", "could", "unable"})
_LIST_END = re.compile(r"(?<!al|ar|ed|ic|ve)(?<!ous),\s(?!.*\b(?:or|nor)\b)", re.IGNORECASE | re.DOTALL)
_UNOPENED = re.compile(r"[^()]*(?:\([^()]*\)[^()]*)*(?=\))")
_PHRASE_OUTSIDE = re.compile(
    r"\b(?:in|within|inside|at|on|along|around|near|from|behind|between|under|beneath|above|below|over|through|throughout"
    r"|(?:of|to|into) (?:the|his|her|its|either|both|any|these|those))\s.*?(?=[,;]|\b(?:or|nor)\b|$)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a phrase does: `kind` is an assertion, `stop`, `show` or `pseudo`; `side` as `data/triggers.tsv` explains it."""

    kind: str
    side: str


@dataclass(frozen=True, slots=True)
class _Trigger:
    start: int
    end: int
    rule: _Rule


@dataclass(frozen=True, slots=True)
class _Scope:
    """Rules the mentions that begin in it or, where it lies before its trigger, end in it."""

    start: int
    end: int
    side: str
    assertion: Assertion

    def holds(self, span: Span) -> bool:
        return self.start <= (span[1] - 1 if self.side == "before" else span[0]) < self.end


@cache
def _rules() -> dict[tuple[str, ...], _Rule]:
    """The table, its alternatives (`a|b`; `|a` may be missing) written out."""
    rules: dict[tuple[str, ...], _Rule] = {}
    for phrase, kind, side in read_table("triggers.tsv"):
        for words in product(*(word.split("|") for word in phrase.split())):
            rules[tuple(filter(None, words))] = _Rule(kind, side)
    return rules


@cache
def _longest() -> dict[str, int]:
    """Words that begin a phrase, and the length of the longest phrase that they begin."""
    lengths: dict[str, int] = {}
    for phrase in _rules():
        lengths[phrase[0]] = max(len(phrase), lengths.get(phrase[0], 0))
    return lengths


@cache
def _telling_words() -> frozenset[str]:
    """A rare word of each ruling phrase, one that rules by itself if it has one: no trigger is in a caption without any."""
    phrases = [phrase for phrase, rule in _rules().items() if rule.kind in _RULING]
    alone = _HINTS | {phrase[0] for phrase in phrases if len(phrase) == 1}
    return frozenset(next((word for word in phrase if word in alone), max(phrase, key=len)) for phrase in phrases)


@cache
def _telling_pieces() -> frozenset[str]:
    """The longest part of each telling word, as texts are cut into words: `can` of `can't`."""
    return _telling_words() | {max(re.findall(r"[^\W_]+", word), key=len, default=word) for word in _telling_words()}


def may_tell(word: str) -> bool:
    """Whether a caption with this word (letters and digits, with joints or without) can have a trigger that rules.

    A caption none of whose words can, and none of whose marks (`may_tell_mark`), is present in all its parts.
    """
    return not _telling_pieces().isdisjoint(_TOKEN.findall(word.lower()))


def may_tell_mark(gap: str) -> bool:
    """Whether what stands between two words can be a trigger that rules: `?`, `+/-`."""
    return bool(_TELLING_MARK.search(gap))


def assess(caption: str, spans: Sequence[Span]) -> list[Assertion]:
    """What the caption says of each span (code points, end exclusive): present, absent or uncertain."""
    if not spans:
        return []
    ruled = [sentence for sentence in sentences(caption) if _may_rule(caption[slice(*sentence)])]
    scopes = [scope for sentence in ruled for scope in _scopes(caption, *sentence)]
    return [_assertion(span, scopes) for span in spans]


def _may_rule(text: str) -> bool:
    return not _telling_words().isdisjoint(_TOKEN.findall(text.lower()))


def _assertion(span: Span, scopes: list[_Scope]) -> Assertion:
    ruled = {scope.assertion for scope in scopes if scope.holds(span)}
    return next((assertion for assertion in _RULING if assertion in ruled), "present")


def sentences(caption: str) -> list[Span]:
    """The sentences of a caption, end to end."""
    ends = [match.start() + 1 for match in _SENTENCE_END.finditer(caption)]
    return [(start, end) for start, end in zip([0, *ends], [*ends, len(caption)], strict=True) if start < end]


def _triggers(caption: str, start: int, end: int) -> list[_Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap."""
    rules, longest = _rules(), _longest()
    tokens = list(_TOKEN.finditer(caption, start, end))
    words = [token[0].lower() for token in tokens]
    found: list[_Trigger] = []
    after = 0
    for i, word in enumerate(words):
        if word in longest and i >= after:
            for n in range(longest[word], 0, -1):
                if rule := rules.get(tuple(words[i : i + n])):
                    after = min(i + n, len(words))
                    found.append(_Trigger(tokens[i].start(), tokens[after - 1].end(), rule))
                    break
    return found


def _scopes(caption: str, start: int, end: int) -> list[_Scope]:
    """The scopes of one sentence, each cut where a prepositional phrase lies."""
    triggers = _triggers(caption, start, end)
    scopes: list[_Scope] = []
    for i, trigger in enumerate(triggers):
        kind, side = trigger.rule.kind, _side(caption, trigger, end)
        if kind in _RULING:
            if side == "within":
                scopes.append(_Scope(trigger.start, trigger.end, side, kind))
            if side in {"after", "both"}:
                scopes += (_Scope(*piece, "after", kind) for piece in _after(caption, trigger, triggers[i + 1 :], end))
            if side == "object":
                scopes += (_Scope(*piece, "after", kind) for piece in _object(caption, trigger, triggers[i + 1 :], end))
            if side in {"before", "both"}:
                scopes += (_Scope(*piece, "before", kind) for piece in _before(caption, trigger, triggers[:i], start))
    return scopes


def _side(caption: str, trigger: _Trigger, end: int) -> str:
    """The side it rules here: `either` and `last` depend on whether its clause ends with it."""
    side = trigger.rule.side
    if side not in {"either", "last"}:
        return side
    if _CLAUSE_END.match(caption[trigger.end : end]):
        return "before"
    return "after" if side == "either" else ""


def _object(caption: str, trigger: _Trigger, later: list[_Trigger], end: int) -> list[Span]:
    """What follows the trigger or, if its clause has a verb of showing, that: `neither lung shows nodules` denies no lung."""
    verb = next((other for other in later if other.rule.kind in {"show", "stop"}), None)
    if verb is None or verb.rule.kind == "stop":
        return _after(caption, trigger, later, end)
    return _after(caption, replace(trigger, end=verb.end), [other for other in later if other.start >= verb.end], end)


def _after(caption: str, trigger: _Trigger, later: list[_Trigger], end: int) -> list[Span]:
    stops = (other.start for other in later if _ends(other, trigger, "after"))
    end = min(next(stops, end), _closing(caption, trigger, end))
    # What follows a comma belongs to the list only if an `or` is still to come; `nor` begins a scope of its own.
    listed = _LIST_END.search(caption[trigger.end : end + len("nor")])
    return _outside_phrases(caption, trigger.end, min(end, trigger.end + listed.start()) if listed else end)


def _before(caption: str, trigger: _Trigger, earlier: list[_Trigger], start: int) -> list[Span]:
    stops = (other.end for other in reversed(earlier) if _ends(other, trigger, "before"))
    clause = caption.rfind(", ", start, trigger.start) + 1
    return _outside_phrases(caption, max(next(stops, start), clause, _opening(caption, trigger, start)), trigger.start)


def _ends(other: _Trigger, trigger: _Trigger, side: str) -> bool:
    """Whether a scope ends at another trigger: a stop of that side, or one of the same kind that takes over."""
    return other.rule.kind == trigger.rule.kind or (other.rule.kind in {"stop", "show"} and other.rule.side in {side, "both"})


def _opening(caption: str, trigger: _Trigger, start: int) -> int:
    """Where the parenthesis begins that the trigger stands in, else `start`."""
    opening = caption.rfind("(", start, trigger.start)
    return opening + 1 if opening > caption.rfind(")", start, trigger.start) else start


def _closing(caption: str, trigger: _Trigger, end: int) -> int:
    """Where the parenthesis ends that the trigger stands in, else `end`."""
    match = _UNOPENED.match(caption, trigger.end, end)
    return match.end() if match else end


def _outside_phrases(caption: str, start: int, end: int) -> list[Span]:
    """What `start` to `end` leaves when its prepositional phrases are taken out; one that opens it stays."""
    pieces: list[Span] = []
    for match in _PHRASE_OUTSIDE.finditer(caption, start, end):
        if caption[start : match.start()].strip():
            pieces.append((start, match.start()))
            start = match.end()
    return [*pieces, (start, end)]
