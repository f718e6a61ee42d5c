"""Scores this repository's dictionary linker: `python benchmarks/linking/ours.py [choose|report]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from corpora import Document, VocabularyName, bc5cdr, medmentions, roco, vocabulary, within
from kg_service.linking.builder import build_linker
from kg_service.linking.model import LinkedCaption
from kg_service.linking.normaliser import read_table
from kg_service.linking.settings import LinkerSettings
from scoring import Hit, score_documents, score_spans

DISORDERS = tuple(next(tuis for group, tuis in read_table("semantic_groups.tsv") if group == "DISO").split())
PARTS = {
    "choose": {"bc5cdr": lambda: bc5cdr("train"), "roco": lambda: roco(4001, 8180), "medmentions": lambda: medmentions(1, 2135)},
    "report": {"bc5cdr": lambda: bc5cdr("dev"), "roco": lambda: roco(1, 4000), "medmentions": lambda: medmentions(2136, 2635)},
}


def hits_of(linked: LinkedCaption) -> list[Hit]:
    return [Hit(mention.start, mention.end, mention.cui) for mention in linked.mentions]


def run(corpus: str, documents: Sequence[Document], name: VocabularyName) -> None:
    settings = LinkerSettings(semantic_types=DISORDERS) if corpus == "bc5cdr" else LinkerSettings()
    linker = build_linker("dictionary", vocabulary(name), settings)
    documents = within(documents, vocabulary(name)) if corpus == "roco" else documents
    start = time.process_time()
    hits = [hits_of(linked) for linked in linker.link([document.text for document in documents])]
    speed = len(documents) / (time.process_time() - start)
    spans = f"spans {score_spans(documents, hits)}   " if corpus != "roco" else ""
    print(f"{corpus:12} {name}  {spans}documents {score_documents(documents, hits)}   {speed:.0f} a CPU second", flush=True)


if __name__ == "__main__":
    for corpus, load in PARTS[sys.argv[1] if len(sys.argv) > 1 else "choose"].items():
        documents = load()
        for name in ("A", "B") if corpus != "bc5cdr" else ("A",):
            run(corpus, documents, name)
