"""How far the triggers of a sentence rule.

All that a scope asks of its sentence is worked out once, and scopes of one kind end at the next trigger of that kind: the time
grows with the length of the sentence, whatever it holds.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbclip.schemas.linking import Assertion

from kg_service.linking.triggers import RULING, Table, Trigger

Span = tuple[int, int]

_MARKS = frozenset(":=-–—")
_OF_NOW = frozenset(RULING[:2])
_COMMA = re.compile(r",\s")
_ITEM_WORDS = 4
_CONTRAST_LENGTH = 80
_PARENTHESIS = re.compile(r"[()]")


@dataclass(frozen=True, slots=True)
class Scope:
    """Rules the mentions that begin in it or, where it lies before its trigger, end in it."""

    start: int
    end: int
    side: str
    assertion: Assertion


class Sentence:
    """The triggers of a sentence, and how far the scope of each goes."""

    def __init__(self, caption: str, start: int, end: int, triggers: Sequence[Trigger], known: Table) -> None:
        self._caption = caption
        self._grammar = known.grammar
        self._statements = known.statements
        self._start = start
        self._end = end
        self._triggers = triggers
        self._next: list[dict[str, int]] = _stops_after(triggers, end)
        self._last: list[dict[str, int]] = _stops_before(triggers, start)
        self._alternatives = [match.start() for match in self._grammar.alternative.finditer(caption, start, end)]
        self._parentheses = _parentheses(caption, start, end)

    def scopes(self) -> Iterator[Scope]:
        """The scopes of all triggers, each cut where a prepositional phrase lies."""
        done: set[tuple[int, str]] = set()
        for i, trigger in enumerate(self._triggers):
            kind, side = trigger.rule.kind, self._side(trigger)
            if kind not in RULING:
                continue
            if side == "within":
                yield Scope(trigger.start, trigger.end, "after", kind)
            if side in {"after", "both", "object", "near", "list"}:
                begin = self._shown(i) if side == "object" else i
                # Many triggers may have the one verb.
                if (begin, kind) not in done:
                    done.add((begin, kind))
                    yield from (Scope(*piece, "after", kind) for piece in self._after(begin, kind))
            if side in {"before", "both"}:
                yield from (Scope(*piece, "before", kind) for piece in self._before(i, kind))

    def _side(self, trigger: Trigger) -> str:
        """The side it rules here: `either` depends on whether its clause ends with it, `answer` on whether it begins one."""
        side = trigger.rule.side
        if side == "answer":
            before = self._caption[max(self._start, trigger.start - 2) : trigger.start]
            return "before" if before.strip(" ,;") else "after"
        if side != "either":
            return "before" if side == "last" else side
        return "before" if self._grammar.clause_end.match(self._caption, trigger.end, self._end) else "after"

    def _shown(self, i: int) -> int:
        """The trigger or, if its clause has a verb of showing, that: `neither lung shows nodules` denies no lung."""
        verb = self._next[i]["verb"]
        return verb if verb >= 0 and self._triggers[verb].rule.kind == "show" else i

    def _after(self, i: int, kind: Assertion) -> list[Span]:
        start = self._after_start(self._triggers[i])
        # What is said of the past and of others goes no further than to the next word that says something.
        kinds = (kind,) if kind in _OF_NOW else RULING
        end = min(self._next[i]["stop"], self._closing(start), *(self._next[i][other] for other in kinds))
        opening = self._opening(end)
        if start < opening and self._grammar.verb.match(self._caption, end):
            end = opening - 1
        if self._triggers[i].rule.side == "near":
            near = self._grammar.near_end.search(self._caption, start, end)
            contrast = self._grammar.contrast.search(self._caption, max(self._start, start - _CONTRAST_LENGTH), start)
            return [] if contrast else self._outside_phrases(start, near.start() if near else end)
        return self._outside_phrases(start, self._list_end(start, end, kind in _OF_NOW and self._triggers[i].rule.side != "list"))

    def _before(self, i: int, kind: Assertion) -> list[Span]:
        end = self._before_end(self._triggers[i])
        # A mark right before the trigger leads to an answer: `effusion: not seen`.
        last = self._last[i - 1 if self._is_answer(i) else i]
        start = max(last[kind], last["stop"], self._opening(end))
        return self._outside_phrases(max(start, self._caption.rfind(", ", start, end) + 1), end)

    def _before_end(self, trigger: Trigger) -> int:
        """Where what stands before it ends: at the comma of *pneumonia, resolved*, or at a parenthesis that holds it alone."""
        start, side = trigger.start, trigger.rule.side
        around = self._caption[start - 1 : start] + self._caption[trigger.end : trigger.end + 1]
        if around == "()" and side != "both":
            return start - 1
        is_set_off = side == "either" or self._has_comma(trigger)
        return start - 2 if is_set_off and self._caption[start - 2 : start] == ", " else start

    def _after_start(self, trigger: Trigger) -> int:
        """Where what stands behind it starts: the second comma of *minimal, if any,* belongs to the phrase."""
        is_set_off = self._caption[trigger.end : trigger.end + 1] == "," and self._has_comma(trigger)
        return trigger.end + is_set_off

    def _has_comma(self, trigger: Trigger) -> bool:
        return "," in self._caption[trigger.start : trigger.end]

    def _is_answer(self, i: int) -> bool:
        mark = self._triggers[i - 1] if i else None
        return (
            mark is not None
            and self._caption[mark.start : mark.end].strip() in _MARKS
            and not (self._caption[mark.end : self._triggers[i].start].strip())
        )

    def _list_end(self, start: int, end: int, is_long: bool) -> int:
        """Where the list that begins at `start` ends: at the first comma after its last `or`, unless bare names alone follow.

        They may do so up to a comma and an article; in a list that `is_long` there are three or more. A scope of its own begins
        at `nor`.
        """
        last = bisect_left(self._alternatives, end + len("nor")) - 1
        last_start = max(start, self._alternatives[last]) if last >= 0 else start
        commas = [comma.start() for comma in _COMMA.finditer(self._caption, last_start, end)]
        if not commas:
            return end
        names = [self._name(place) for place in (last_start, *(comma + 1 for comma in commas))]
        listed = next((i for i, name in enumerate(names) if i and self._grammar.articles.intersection(name[:1])), len(names))
        counted = len(names) + sum(word in self._grammar.conjunctions for name in names for word in name)
        if all(map(self._is_bare, names[:listed])) and (counted > 2 or not is_long):
            return commas[listed - 1] if listed < len(names) else end
        first = self._grammar.list_comma.search(self._caption, last_start, end)
        return first.start() if first else end

    def _name(self, start: int) -> list[str]:
        """The words of an item of a list."""
        end = self._grammar.item_end.search(self._caption, start, self._end)
        return self._caption[start : end.start() if end else self._end].lower().split()

    def _is_bare(self, words: Sequence[str]) -> bool:
        """Whether these are a few words that name something and say nothing of it."""
        key, joint = self._grammar.key, bool(words) and words[0] in self._grammar.joints
        return 0 < len(words) <= _ITEM_WORDS + joint and self._statements.isdisjoint(map(key, words))

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
        for match in self._grammar.phrase_outside.finditer(self._caption, start, end):
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


def _stops_after(triggers: Sequence[Trigger], end: int) -> list[dict[str, int]]:
    """For each trigger where the next one begins that ends its scope, by kind, and the next `verb` (its number, -1 for none)."""
    state = {**dict.fromkeys((*RULING, "stop"), end), "verb": -1}
    found = []
    for i in range(len(triggers) - 1, -1, -1):
        found.append(dict(state))
        rule = triggers[i].rule
        state[rule.kind if rule.kind in RULING else "other"] = triggers[i].start
        if rule.stops("after"):
            state["stop"] = triggers[i].start
        if rule.kind in {"stop", "show"}:
            state["verb"] = i
    return found[::-1]


def _stops_before(triggers: Sequence[Trigger], start: int) -> list[dict[str, int]]:
    """For each trigger where the last one before it ends that ends its scope, by kind."""
    state = dict.fromkeys((*RULING, "stop"), start)
    found = []
    for trigger in triggers:
        found.append(dict(state))
        state[trigger.rule.kind if trigger.rule.kind in RULING else "other"] = trigger.end
        if trigger.rule.stops("before"):
            state["stop"] = trigger.end
    return found
