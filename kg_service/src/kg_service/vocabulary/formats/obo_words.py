"""What fastobo expects of a line, in plain words: its messages name rules of its grammar."""

from __future__ import annotations

import re

_RULE = re.compile(r"[A-Z][A-Za-z]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]+")
_ALWAYS_POSSIBLE = {"Comment", "EOI"}
_WORDS = {
    "QuotedString": 'a text in double quotes, such as "lung"',
    "SynonymScopeSingle": "a second double quote, then EXACT, NARROW, BROAD or RELATED, then [] around its sources",
    "Boolean": "true or false",
    "EntityFrame": "[Term], [Typedef] or [Instance]",
    "HeaderClause": "`tag: value`",
    "TermClause": "`tag: value` with a tag that terms have, such as `name: lung`",
    "TypedefClause": "`tag: value` with a tag that relations have, such as `name: part of`",
    "InstanceClause": "`tag: value` with a tag that instances have",
    "NaiveDay": "a date such as 25:12:2024 14:30",
    "CreationDate": "a date such as 2024-12-25T14:30:00Z",
    "XrefList": "a list in brackets, such as [PMID:1] or []",
    "Qualifier": 'qualifiers such as {source="PMID:1"}',
    "EOL": "the end of the line",
    "Comment": "the line `id: …` of the frame",
    "EOI": "the end of the file",
}


def obo_expectation(message: str) -> str:
    """`true or false` for `expected Boolean`; a rule without words of its own is called by its name, in small letters."""
    rules = dict.fromkeys(_RULE.findall(message))
    told = [rule for rule in rules if rule not in _ALWAYS_POSSIBLE] or list(rules)
    return " or ".join(dict.fromkeys(map(_called, told))) or "something else"


def _called(rule: str) -> str:
    if rule in _WORDS:
        return _WORDS[rule]
    if rule.endswith("Id"):
        return "an id, such as UBERON:0002048"
    return " ".join(_WORD.findall(rule)).lower()
