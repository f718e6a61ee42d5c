"""QuickUMLS 1.4 (Soldaini and Goharian, 2016): nearest names by Jaccard similarity of 3-grams, its simstring backend.

It asks for spaCy's `en_core_web_sm` and NLTK's stop words, which come from neither PyPI. In their place: spaCy's blank English
pipeline with parts of speech for determiners and adpositions, all that QuickUMLS reads of them, and spaCy's stop words.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nltk
import quickumls
import spacy
from quickumls import install
from spacy.lang.en.stop_words import STOP_WORDS
from spacy.language import Language
from spacy.tokens import Doc

from peers.worker import Link, Mention, main

_CLOSED_CLASSES = {
    "DET": "a an the this that these those each every either neither any all both some no another such",
    "ADP": (
        "of in on at by with without within from to into onto for as about above across after against along among around before"
        " behind below beneath beside between beyond despite during except inside near off out outside over past per since"
        " through throughout toward towards under until up upon via"
    ),
}
_POS = {word: pos for pos, words in _CLOSED_CLASSES.items() for word in words.split()}


@Language.component("closed_classes")
def _tag_closed_classes(document: Doc) -> Doc:
    for token in document:
        token.pos_ = _POS.get(token.lower_, "")
    return document


def _load_pipeline(name: str) -> Language:
    pipeline = spacy.blank("en")
    pipeline.add_pipe("closed_classes")
    return pipeline


def build(rrf: Path, texts: Path, index: Path) -> None:
    """Its own installer's index, lower-cased and in ASCII, as its documentation advises."""
    for flag, content in {"language": "ENG", "database_backend": "leveldb", "lowercase": "", "normalize-unicode": ""}.items():
        (index / f"{flag}.flag").write_text(content)
    options = argparse.Namespace(language="ENG", lowercase=True, normalize_unicode=True)
    rows = install.extract_from_mrconso(str(rrf / "MRCONSO.RRF"), str(rrf / "MRSTY.RRF"), options)
    install.parse_and_encode_ngrams(rows, str(index / "umls-simstring.db"), str(index / "cui-semtypes.db"), "leveldb")
    stop_words = index / "nltk" / "corpora" / "stopwords" / "english"
    stop_words.parent.mkdir(parents=True)
    stop_words.write_text("\n".join(sorted(STOP_WORDS)) + "\n")


def load(index: Path, settings: dict[str, Any]) -> Link:
    """`threshold` is the least similarity."""
    nltk.data.path.insert(0, str(index / "nltk"))
    spacy.load = _load_pipeline
    wanted = set(settings["semantic_types"]) or None
    matcher = quickumls.QuickUMLS(str(index), threshold=settings["threshold"], accepted_semtypes=wanted)
    return lambda texts: [_link(matcher, text) for text in texts]


def _link(matcher: quickumls.QuickUMLS, text: str) -> list[Mention]:
    best = (candidates[0] for candidates in matcher.match(text))
    return [(match["start"], match["end"], match["cui"], float(match["similarity"])) for match in best]


if __name__ == "__main__":
    main(build, load)
