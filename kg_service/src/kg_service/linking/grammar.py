"""The languages that assertion reads, and what it has to know of each beside its triggers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from re import IGNORECASE, Pattern

_NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True, eq=False)
class Grammar:
    """Of one language.

    Attributes:
        triggers: the table of its triggers, in the package's `data` folder.
        token: a word or mark, as phrases of the table are made of.
        key: by what a word is looked up.
        clause_end: what stands at the end of a clause: a mark, a preposition, or the head of another.
        list_comma: a comma that ends a list.
        alternative: the `or` of a list.
        item_end: where an item of a list ends.
        articles: words that begin what is not an item of a list.
        conjunctions: the `and` of a list.
        joints: what may stand before the last item of a list.
        near_end: where the scope of a trigger of side `near` ends.
        contrast: what stands before such a trigger that denies nothing: `fat in one muscle but not another` has both.
        verb: of a statement; one in parentheses says nothing of what stands before these.
        phrase_outside: a prepositional phrase or a statement in parentheses, which stays outside the scope that it stands in.
    """

    triggers: str
    token: Pattern[str]
    key: Callable[[str], str]
    clause_end: Pattern[str]
    list_comma: Pattern[str]
    alternative: Pattern[str]
    item_end: Pattern[str]
    articles: frozenset[str]
    conjunctions: frozenset[str]
    joints: frozenset[str]
    near_end: Pattern[str]
    contrast: Pattern[str]
    verb: Pattern[str]
    phrase_outside: Pattern[str]


@lru_cache(1 << 13)
def _without_ending(word: str) -> str:
    """A French word without case, accents, and the endings of gender and number."""
    letters = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if not unicodedata.combining(c))
    return letters.rstrip("es") if len(letters) >= _SHORTEST_WITH_ENDING else letters


_SHORTEST_WITH_ENDING = 5

ENGLISH = Grammar(
    triggers="triggers.tsv",
    token=re.compile(
        r"\+/-|\([-+]\)(?!\w)|\((?=(?:no|yes|none|nil|absent|present|possible|probable|likely)\))|(?<!\w)[-+]ve\b"
        r"|(?<!\S)[qv]\.(?=\s|$)|(?<!\w)(?<![)\]]-)\w+(?:['/-]\w+)*|(?<!\S)-+|[:.?±=–—]|>(?!\s?\d)"
    ),
    key=str.lower,
    clause_end=re.compile(
        r"\s*(?:[,.;?)\n]|$|(?:in|on|at|by|from|after|since|following)\b|(?-i:[A-Z][\w /]{0,40}[:=]))", IGNORECASE
    ),
    list_comma=re.compile(r"(?<!al|ed|ic|ve)(?<!ous|lar|bar)(?<!near|lear),\s", IGNORECASE),
    alternative=re.compile(r"\b(?:or|nor)\b", IGNORECASE),
    item_end=re.compile(r"[,;.()\n]|\s(?:-|but|except|other than|apart from|aside from)\s", IGNORECASE),
    articles=frozenset({"a", "an", "the"}),
    conjunctions=frozenset({"and"}),
    joints=frozenset({"and", "or", "nor"}),
    near_end=re.compile(r",|(?<=not|n't)\s\w+ing\b|\b(?:for|to|by|as|than|whether|because)\b", IGNORECASE),
    verb=re.compile(r"(?:is|are|was|were|has|have)\b", IGNORECASE),
    contrast=re.compile(r"\b(?:of|in|within|into|from|to|at|on|involving|affecting)\s[^,;.]*\bbut\s+not\Z", IGNORECASE),
    phrase_outside=re.compile(
        r"\b(?:in|within|inside|at|on|along|around|near|from|behind|between|under|beneath|above|below|over|through|throughout"
        r"|(?:(?<!\bevidence )(?<!\bsigns )(?<!\bsign )(?<!\btrace )(?<!\bpresence )of|to|into)"
        r" (?:the|his|her|its|either|both|any|these|those))\s.*?(?=[,;]|\b(?:or|nor)\b|$)"
        r"|\((?=[^()]*\))(?=[^()]*\b(?:seen|noted|present|visible|persists?)\b)[^()]*\)|:\s[^:;]*\binstead\b",
        IGNORECASE | re.DOTALL,
    ),
)

FRENCH = Grammar(
    triggers="triggers_fre.tsv",
    token=re.compile(
        r"\+/-|(?<!\w)(?:[cdjlmnst]|(?:jus|lors|puis)?qu)'|(?<!\w)(?<![)\]]-)\w[\w\u0300-\u036f]*(?:['/-]\w[\w\u0300-\u036f]*)*"
        r"|(?<!\S)-+|[:.?±=–—]",
        IGNORECASE,
    ),
    key=_without_ending,
    clause_end=re.compile(
        r"\s*(?:[,.;?)\n]|$|(?:dans|sur|sous|à|au|aux|a|en|par|chez|de|du|des|depuis|après|apres|avec|et)\b|d'"
        r"|(?-i:[A-ZÀ-Ý][\w /]{0,40}[:=]))",
        IGNORECASE,
    ),
    list_comma=re.compile(r",\s(?!d'|(?:de|ni|ou)\s)", IGNORECASE),
    alternative=re.compile(r"\b(?:ou|ni)\b", IGNORECASE),
    item_end=re.compile(r"[,;.()\n]|\s(?:-|mais|sauf|hormis|excepté|en dehors|à part)\s", IGNORECASE),
    articles=frozenset({"un", "une", "des", "le", "la", "les"}),
    conjunctions=frozenset({"et"}),
    joints=frozenset({"et", "ou", "ni"}),
    near_end=re.compile(r",|\b(?:pour|par|que|comme|car|à|au|aux)\b", IGNORECASE),
    contrast=_NEVER,
    verb=re.compile(r"(?:est|sont|était|étaient|a|ont)\b", IGNORECASE),
    phrase_outside=re.compile(
        r"\b(?:(?:dans|sur|sous|entre|chez|vers|autour|au|aux|à|en (?:regard|avant|arrière|dedans))\s"
        r"|(?<!\bsigne )(?<!\bsignes )(?<!\bimage )(?<!\bargument )(?<!\btrace )"
        r"(?:du\s|des\s|de (?:la\s|l'|ces\s|cette\s|son\s|sa\s)))"
        r".*?(?=[,;]|\b(?:ou|ni)\b|$)",
        IGNORECASE | re.DOTALL,
    ),
)

GRAMMARS = {"ENG": ENGLISH, "FRE": FRENCH}
"""By the name that the UMLS has for the language."""
