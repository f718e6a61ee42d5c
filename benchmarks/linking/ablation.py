"""What each kind of spelling variant brings and costs: the linker without it, on the texts that settings are chosen on."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from corpora import Document, bc5cdr, medmentions, roco, vocabulary
from kg_service.linking.builder import build_linker
from kg_service.linking.dictionary import candidates, normaliser, tokens
from kg_service.linking.dictionary.dictionary import DictionaryLinker
from kg_service.linking.dictionary.name_index import build_name_index, open_name_index
from kg_service.linking.dictionary.settings import DictionarySettings
from kg_service.linking.fitting.scoring import hits_of, score_documents, score_spans, within
from tasks import semantic_types

_SEED = 42
_WORD = re.compile(r"[a-z]{6,}")
_PLAIN_RULES = {"exact", "case", "normalised"}


def _without_word_order() -> Any:
    scores = candidates._SCORES.copy()
    scores[candidates.ANY_ORDER] = 0
    return patch.object(candidates, "_SCORES", scores)


_latin_plurals = [rule for rule in normaliser._SPELLINGS if rule[1] in {r"\1sis", "us", "a"}]
_british = tuple(rule for rule in normaliser._SPELLINGS if rule not in _latin_plurals)
VARIANTS: dict[str, Any] = {
    "British spelling": lambda: patch.object(normaliser, "_SPELLINGS", tuple(_latin_plurals)),
    "Latin plurals": lambda: patch.object(normaliser, "_SPELLINGS", _british),
    "English plurals": lambda: patch.object(normaliser, "_PLURALS", ()),
    "adjectives of findings": lambda: patch.object(normaliser, "_ADJECTIVES", ()),
    "Greek letters": lambda: patch.object(normaliser, "_GREEK", {}),
    "Roman numerals": lambda: patch.object(normaliser, "_ROMAN", {}),
    "table of variants": lambda: patch.object(normaliser, "read_table", lambda file: []),
    "hyphens and joints": lambda: patch.object(tokens, "_JOINTS", frozenset()),
    "word order": _without_word_order,
}
SETTINGS = {"synonyms": {"synonyms": False}, "misspellings": {"misspellings": False}}


def ablate() -> None:
    """Prints F1 (document level of ROCO; spans and documents of the others) and speed, whole and without each variant."""
    texts = {"roco": roco(4001, 8180), "bc5cdr": bc5cdr("train"), "medmentions": medmentions(1636, 2135)}
    print(f"{'without':24} ROCO    BC5CDR        MedMentions   captions a CPU s")
    print(f"{'(nothing)':24} {_row(texts)}", flush=True)
    for name, change in VARIANTS.items():
        with change():
            print(f"{name:24} {_row(texts, rebuilt=True)}", flush=True)
    for name, fields in SETTINGS.items():
        print(f"{name:24} {_row(texts, **fields)}", flush=True)
    for fields in ({"misspellings": True}, {"misspellings": False}):
        found, asked = typo_recall(roco(1, 4000), DictionarySettings(**fields))
        print(f"synthetic misspellings found with {fields}: {found} of {asked}, {found / asked:.1%}")


def _row(texts: dict[str, list[Document]], rebuilt: bool = False, **fields: Any) -> str:
    known = vocabulary("A")
    figures = []
    with _index(rebuilt) as index:
        for corpus, documents in texts.items():
            settings = DictionarySettings(semantic_types=semantic_types(corpus), **fields)  # type: ignore[arg-type]
            linker = DictionaryLinker(known, index, settings) if index else build_linker("dictionary", known, settings)
            captions = [document.text for document in documents]
            linker.link(captions)
            start = time.process_time()
            linked = linker.link(captions)
            speed = len(captions) / (time.process_time() - start)
            hits = [hits_of(one) for one in linked]
            gold = within(documents, known)
            scores = [score_documents(gold, hits)] if corpus == "roco" else [score_spans(gold, hits), score_documents(gold, hits)]
            figures.append(" ".join(f"{100 * score.f1:5.2f}" for score in scores) + (f"|{speed:.0f}" if corpus == "roco" else ""))
    roco_f1, speed_text = figures[0].split("|")
    return f"{roco_f1}   {figures[1]}   {figures[2]}   {speed_text}"


@contextmanager
def _index(rebuilt: bool) -> Iterator[Any]:
    """A name index compiled with what is patched now, where the patch changes names."""
    if not rebuilt:
        yield None
        return
    with TemporaryDirectory() as folder:
        build_name_index(vocabulary("A"), Path(folder) / "names")
        yield open_name_index(Path(folder) / "names", vocabulary("A"))


def typo_recall(documents: Sequence[Document], settings: DictionarySettings) -> tuple[int, int]:
    """How many names still link to their concept with one edit in a word of theirs, and how many were tried, one a caption."""
    luck = random.Random(_SEED)
    linker = build_linker("dictionary", vocabulary("A"), settings)
    tried: list[tuple[str, int, int, str]] = []
    for linked in linker.link([document.text for document in documents]):
        names = [mention for mention in linked.mentions if mention.rule in _PLAIN_RULES and _WORD.search(mention.text)]
        if names:
            mention = luck.choice(names)
            word = luck.choice(list(_WORD.finditer(linked.caption, mention.start, mention.end)))
            wrong = _edited(word[0], luck)
            text = linked.caption[: word.start()] + wrong + linked.caption[word.end() :]
            tried.append((text, mention.start, mention.end + len(wrong) - len(word[0]), mention.cui))
    answers = linker.link([text for text, *_ in tried])
    return sum(
        any(mention.cui == cui and (mention.start, mention.end) == (start, end) for mention in linked.mentions)
        for linked, (_, start, end, cui) in zip(answers, tried, strict=True)
    ), len(tried)


def _edited(word: str, luck: random.Random) -> str:
    """`word` with one edit behind its first letter."""
    while True:
        at, letter = luck.randrange(1, len(word) - 1), chr(luck.randrange(ord("a"), ord("z") + 1))
        edits = (
            word[:at] + letter + word[at:],
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at + 1 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
        if (wrong := luck.choice(edits)) != word:
            return wrong
