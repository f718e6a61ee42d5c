"""Whether a caption says that a finding is there: rules after NegEx (Chapman et al., 2001) and ConText (Harkema et al., 2009).

A trigger (`data/triggers.tsv`) rules the mentions on one side of it, as far as its sentence, its parenthesis and its list go, or
up to a word that ends its scope. A prepositional phrase stays outside: `no lesion in the liver` does not deny the liver.
Of several assertions the first of absent, uncertain, family and history counts.

The rules read English. The time they take grows with the length of the caption, whatever it holds: scopes of one kind end at the
next trigger of that kind, and all that a scope asks of its sentence is worked out once (`_Sentence`).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from itertools import product
from typing import Any, NamedTuple

from nbclip.schemas.linking import Assertion

from kg_service.linking.plain_text import read_plain
from kg_service.linking.tables import read_table

Span = tuple[int, int]

# A full stop ends a sentence before white space or a capital; a panel label such as (b) begins one, and so does a list's item,
# but no dash that leads to an answer (effusion - No). `?` before a word (? pneumonia) ends none.
# It begins with a set of characters, without which it would be several times as slow.
_SENTENCE_END = re.compile(
    r"[.!?;\n(•◦▪‣●■►*·-](?:"
    r"(?<=[.!])(?=\s|$|[A-Z])(?!(?<=\bno\.)\s?\d)(?!(?:(?<=\b[Nn]eg\.)|(?<=negative\.))\sfor\b)(?<!\b[Vv]s\.)(?<!\b(?:e\.g|i\.e)\.)"
    r"|(?<=[\w)]\?)(?=\s|$|[A-Z])|(?<=[;\n•◦▪‣●■►])|(?<=\()(?=[A-Za-z]\)\s)|(?<=[*·])(?<!\S.)(?=\s)"
    r"|(?<=-)(?<!\S.)(?=\s?[A-Z])(?!\s?(?:Not\b|(?:No|None|Nil|Absent|Negative|Yes|Present|Positive)\s*(?:[.,;\n]|$))))"
)
_TOKEN = re.compile(r"\+/-|(?<!\w)[-+]ve\b|(?<!\w)(?<![)\]]-)\w+(?:['/-]\w+)*|(?<!\S)-+|[:.?±=–—]")
_TELLING_MARK = re.compile(r"[?±]|\+/[-−]")
_OWN_CASE = frozenset({"VS"})
_MARKS = frozenset(":=-–—")
_CONTRACTION = re.compile(r"(\w+)n't")
_CONTRACTED = "is are was were do does did has have had ca wo could would should"
_CLAUSE_END = re.compile(
    r"\s*(?:[,.;?)\n]|$|(?:in|on|at|by|from|after|since|following)\b|(?-i:[A-Z][\w /]{0,40}[:=]))", re.IGNORECASE
)
_RULING: tuple[Assertion, ...] = ("absent", "uncertain", "family", "history")
_OF_NOW = frozenset(_RULING[:2])
_LIST_COMMA = re.compile(r"(?<!al|ed|ic|ve)(?<!ous|lar|bar)(?<!near|lear),\s", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\b(?:or|nor)\b", re.IGNORECASE)
_ITEM_END = re.compile(r"[,;.()\n]|\s(?:-|but|except|other than|apart from|aside from)\s", re.IGNORECASE)
_ARTICLES = frozenset({"a", "an", "the"})
_ITEM_WORDS = 4
_NEAR_END = re.compile(r",|(?<=not|n't)\s\w+ing\b|\b(?:for|to|by|as|than|whether|because)\b", re.IGNORECASE)
# Fat in one muscle but not another: the other is there.
_CONTRAST = re.compile(r"\b(?:of|in|within|into|from|to|at|on|involving|affecting)\s[^,;.]*\bbut\s+not\Z", re.IGNORECASE)
_CONTRAST_LENGTH = 80
_PARENTHESIS = re.compile(r"[()]")
_PHRASE_OUTSIDE = re.compile(
    r"\b(?:in|within|inside|at|on|along|around|near|from|behind|between|under|beneath|above|below|over|through|throughout"
    r"|(?:(?<!\bevidence )(?<!\bsigns )(?<!\bsign )(?<!\btrace )(?<!\bpresence )of|to|into)"
    r" (?:the|his|her|its|either|both|any|these|those))\s.*?(?=[,;]|\b(?:or|nor)\b|$)",
    re.IGNORECASE | re.DOTALL,
)
_SKIPPED = 4
"""Adverbs that may stand inside a phrase."""


@dataclass(frozen=True, slots=True)
class _Rule:
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


_Phrases = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Table:
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
def _table() -> _Table:
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
                reduce(lambda node, word: node.setdefault(word, {}), words, phrases)[""] = _Rule(kind, side)
    return _Table(phrases, **{name: frozenset(words) for name, words in lists.items()}, short_forms=short_forms)


def phrases_of(tree: _Phrases, begun: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Rule]]:
    """All phrases of a tree, with their rules."""
    for word, below in tree.items():
        if word:
            yield from phrases_of(below, (*begun, word))
        else:
            yield begun, below


@cache
def _telling_words() -> frozenset[str]:
    """A rare word of each ruling phrase, one that rules by itself if it has one: no trigger is in a caption without any."""
    phrases = [phrase for phrase, rule in phrases_of(_table().phrases) if rule.kind in _RULING]
    alone = _table().rare | {phrase[0] for phrase in phrases if len(phrase) == 1}
    return frozenset(next((word for word in phrase if word in alone), max(phrase, key=len)) for phrase in phrases)


@cache
def _telling_tokens() -> frozenset[str]:
    """All that is or is written out as a telling word."""
    short_forms = {short for short, words in _table().short_forms.items() if not _telling_words().isdisjoint(words)}
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


def assess(caption: str, spans: Sequence[Span]) -> list[Assertion]:
    """What the caption says of each span (code points, end exclusive): present, absent, uncertain, family or history."""
    plain = read_plain(caption)
    return assess_plain(plain.text, [plain.inner(*span) for span in spans])


def assess_plain(text: str, spans: Sequence[Span]) -> list[Assertion]:
    """As `assess`, of a text that is plain already (`plain_text.py`)."""
    found: dict[tuple[Assertion, str], list[Span]] = {}
    for scope in (scope for sentence in sentences(text) for scope in _scopes_in(text, *sentence)) if spans else ():
        found.setdefault((scope.assertion, scope.side), []).append((scope.start, scope.end))
    ruled = [
        (kind, side, *_united(found[kind, side])) for kind in _RULING for side in ("after", "before") if (kind, side) in found
    ]
    return [_assertion(span, ruled) for span in spans] if ruled else ["present"] * len(spans)


def _assertion(span: Span, ruled: Sequence[tuple[Assertion, str, list[int], list[int]]]) -> Assertion:
    for kind, side, starts, ends in ruled:
        place = span[0] if side == "after" else span[1] - 1
        at = bisect_right(starts, place) - 1
        if at >= 0 and place < ends[at]:
            return kind
    return "present"


def _united(spans: Iterable[Span]) -> tuple[list[int], list[int]]:
    """Starts and ends, ascending, of what the spans cover together."""
    starts: list[int] = []
    ends: list[int] = []
    for start, end in sorted(spans):
        if ends and start <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


def sentences(caption: str) -> list[Span]:
    """The sentences of a caption, end to end."""
    ends = [match.end() for match in _SENTENCE_END.finditer(caption)]
    return [(start, end) for start, end in zip([0, *ends], [*ends, len(caption)], strict=True) if start < end]


def _scopes_in(caption: str, start: int, end: int) -> Iterable[_Scope]:
    """The scopes of one sentence."""
    tokens = _TOKEN.findall(caption, start, end)
    if _telling_tokens().isdisjoint(map(str.lower, tokens)):
        return ()
    written = list(map(_words_of, tokens))
    if "VS" in tokens and caption[start:end].isupper():
        written = [("vs",) if words == ("VS",) else words for words in written]
    words = _Words(
        [word for each in written for word in each],
        [place for place, each in enumerate(written) for _ in each] if max(map(len, written)) > 1 else range(len(tokens)),
        list(_TOKEN.finditer(caption, start, end)),
    )
    return _Sentence(caption, start, end, _triggers(caption, words, end)).scopes()


@lru_cache(4096)
def _words_of(token: str) -> tuple[str, ...]:
    """A token as the table has it: `w/o` is without, `can't` is can not, `2-week` is week.

    VS stays as it is: it is a short form of its own, unless all is in capitals.
    """
    word = token if token in _OWN_CASE else token.lower()
    if known := _table().short_forms.get(word):
        return known
    if contraction := _CONTRACTION.fullmatch(word):
        return {"ca": "can", "wo": "will"}.get(contraction[1], contraction[1]), "not"
    last = word.rpartition("-")[2]
    return (last,) if last in _table().units else (word,)


def _triggers(caption: str, words: _Words, end: int) -> list[_Trigger]:
    """The phrases of the table in a sentence, the longest at each place, without overlap."""
    phrases = _table().phrases
    found: list[_Trigger] = []
    after = 0
    for at, word in enumerate(words.texts):
        if word in phrases and at >= after and (matched := _longest_at(caption, words, at, end)):
            rule, last = matched
            found.append(_Trigger(words.start(at), words.end(last), rule))
            after = last + 1
    return found


def _longest_at(caption: str, words: _Words, at: int, end: int) -> tuple[_Rule, int] | None:
    """The longest phrase that begins at a word, adverbs inside it or not, and its last word."""
    texts = words.texts
    table = _table()
    best, found = 0, None
    # The way on from each place that a phrase can have come to: its words so far, the adverbs left out, where it goes on.
    ways = [(table.phrases[texts[at]], 1, 0, at + 1)]
    while ways:
        node, length, skipped, after = ways.pop()
        rule = node.get("")
        if rule and length > best and (rule.side != "last" or _CLAUSE_END.match(caption, words.end(after - 1), end)):
            best, found = length, (rule, after - 1)
        if after < len(texts):
            word = texts[after]
            if word in table.adverbs and skipped < _SKIPPED:
                ways.append((node, length, skipped + 1, after + 1))
            if word in node:
                ways.append((node[word], length + 1, skipped, after + 1))
    return found


class _Sentence:
    """The triggers of a sentence, and how far the scope of each goes."""

    def __init__(self, caption: str, start: int, end: int, triggers: Sequence[_Trigger]) -> None:
        self._caption = caption
        self._start = start
        self._end = end
        self._triggers = triggers
        self._next: list[dict[str, int]] = _stops_after(triggers, end)
        self._last: list[dict[str, int]] = _stops_before(triggers, start)
        self._alternatives = [match.start() for match in _ALTERNATIVE.finditer(caption, start, end)]
        self._parentheses = _parentheses(caption, start, end)

    def scopes(self) -> Iterator[_Scope]:
        """The scopes of all triggers, each cut where a prepositional phrase lies."""
        done: set[tuple[int, str]] = set()
        for i, trigger in enumerate(self._triggers):
            kind, side = trigger.rule.kind, self._side(trigger)
            if kind not in _RULING:
                continue
            if side == "within":
                yield _Scope(trigger.start, trigger.end, "after", kind)
            if side in {"after", "both", "object", "near"}:
                begin = self._shown(i) if side == "object" else i
                # Many triggers may have the one verb.
                if (begin, kind) not in done:
                    done.add((begin, kind))
                    yield from (_Scope(*piece, "after", kind) for piece in self._after(begin, kind))
            if side in {"before", "both"}:
                yield from (_Scope(*piece, "before", kind) for piece in self._before(i, kind))

    def _side(self, trigger: _Trigger) -> str:
        """The side it rules here: `either` depends on whether its clause ends with it."""
        side = trigger.rule.side
        if side != "either":
            return "before" if side == "last" else side
        return "before" if _CLAUSE_END.match(self._caption, trigger.end, self._end) else "after"

    def _shown(self, i: int) -> int:
        """The trigger or, if its clause has a verb of showing, that: `neither lung shows nodules` denies no lung."""
        verb = self._next[i]["verb"]
        return verb if verb >= 0 and self._triggers[verb].rule.kind == "show" else i

    def _after(self, i: int, kind: Assertion) -> list[Span]:
        start = self._triggers[i].end
        # What is said of the past and of others goes no further than to the next word that says something.
        kinds = (kind,) if kind in _OF_NOW else _RULING
        end = min(self._next[i]["stop"], self._closing(start), *(self._next[i][other] for other in kinds))
        if self._triggers[i].rule.side == "near":
            near = _NEAR_END.search(self._caption, start, end)
            contrast = _CONTRAST.search(self._caption, max(self._start, start - _CONTRAST_LENGTH), start)
            return [] if contrast else self._outside_phrases(start, near.start() if near else end)
        return self._outside_phrases(start, self._list_end(start, end, kind))

    def _before(self, i: int, kind: Assertion) -> list[Span]:
        end = self._triggers[i].start
        # A mark right before the trigger leads to an answer: `effusion: not seen`.
        last = self._last[i - 1 if self._is_answer(i) else i]
        start = max(last[kind], last["stop"], self._opening(end))
        return self._outside_phrases(max(start, self._caption.rfind(", ", start, end) + 1), end)

    def _is_answer(self, i: int) -> bool:
        mark = self._triggers[i - 1] if i else None
        return (
            mark is not None
            and self._caption[mark.start : mark.end].strip() in _MARKS
            and not (self._caption[mark.end : self._triggers[i].start].strip())
        )

    def _list_end(self, start: int, end: int, kind: Assertion) -> int:
        """Where the list that begins at `start` ends: at the first comma after its last `or`, unless bare names alone follow.

        They may do so up to a comma and an article; of what is denied or doubted there are three or more. A scope of its own
        begins at `nor`.
        """
        last = bisect_left(self._alternatives, end + len("nor")) - 1
        last_start = max(start, self._alternatives[last]) if last >= 0 else start
        commas = [comma.start() for comma in _LIST_COMMA.finditer(self._caption, last_start, end)]
        if not commas:
            return end
        names = [self._name(place) for place in (last_start, *(comma + 1 for comma in commas))]
        listed = next((i for i, name in enumerate(names) if i and _ARTICLES.intersection(name[:1])), len(names))
        counted = len(names) + sum(name.count("and") for name in names)
        if not all(map(_is_bare, names[:listed])) or (counted == 2 and kind in _OF_NOW):
            return commas[0]
        return commas[listed - 1] if listed < len(names) else end

    def _name(self, start: int) -> list[str]:
        """The words of an item of a list."""
        end = _ITEM_END.search(self._caption, start, self._end)
        return self._caption[start : end.start() if end else self._end].lower().split()

    def _closing(self, place: int) -> int:
        """Where the parenthesis around a place ends, else the sentence."""
        places, closings, _ = self._parentheses
        following = bisect_left(places, place)
        return closings[following] if following < len(places) else self._end

    def _opening(self, place: int) -> int:
        """Where the parenthesis begins that a place stands in, else the sentence."""
        places, _, openings = self._parentheses
        following = bisect_left(places, place)
        return openings[following - 1] if following else self._start

    def _outside_phrases(self, start: int, end: int) -> list[Span]:
        """What `start` to `end` leaves when its prepositional phrases are taken out; one that opens it stays."""
        pieces: list[Span] = []
        for match in _PHRASE_OUTSIDE.finditer(self._caption, start, end):
            if self._caption[start : match.start()].strip():
                pieces.append((start, match.start()))
                start = match.end()
        return [*pieces, (start, max(start, end))]


def _parentheses(caption: str, start: int, end: int) -> tuple[list[int], list[int], list[int]]:
    """Where parentheses stand; up to each one, where the one around it ends; after each one, where it has begun."""
    places = [match.start() for match in _PARENTHESIS.finditer(caption, start, end)]
    closings = [end] * len(places)
    unopened: list[int] = []
    for i in range(len(places) - 1, -1, -1):
        if caption[places[i]] == ")":
            unopened.append(places[i])
        elif unopened:
            unopened.pop()
        closings[i] = unopened[-1] if unopened else end
    return places, closings, [place + 1 if caption[place] == "(" else start for place in places]


def _stops_after(triggers: Sequence[_Trigger], end: int) -> list[dict[str, int]]:
    """For each trigger where the next one begins that ends its scope, by kind, and the next `verb` (its number, -1 for none)."""
    state = {**dict.fromkeys((*_RULING, "stop"), end), "verb": -1}
    found = []
    for i in range(len(triggers) - 1, -1, -1):
        found.append(dict(state))
        rule = triggers[i].rule
        state[rule.kind if rule.kind in _RULING else "other"] = triggers[i].start
        if rule.stops("after"):
            state["stop"] = triggers[i].start
        if rule.kind in {"stop", "show"}:
            state["verb"] = i
    return found[::-1]


def _stops_before(triggers: Sequence[_Trigger], start: int) -> list[dict[str, int]]:
    """For each trigger where the last one before it ends that ends its scope, by kind."""
    state = dict.fromkeys((*_RULING, "stop"), start)
    found = []
    for trigger in triggers:
        found.append(dict(state))
        state[trigger.rule.kind if trigger.rule.kind in _RULING else "other"] = trigger.end
        if trigger.rule.stops("before"):
            state["stop"] = trigger.end
    return found


def _is_bare(words: Sequence[str]) -> bool:
    """Whether these are a few words that name something and say nothing of it."""
    return 0 < len(words) <= _ITEM_WORDS + (words[0] in {"and", "or", "nor"}) and _table().statements.isdisjoint(words)
