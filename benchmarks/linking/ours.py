"""Scores this repository's dictionary linker: `python benchmarks/linking/ours.py [choose|report]`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from corpora import Document, VocabularyName, bc5cdr, medmentions, roco, vocabulary, within
from kg_service.linking.builder import build_linker
from kg_service.linking.model import LinkedCaption
from kg_service.linking.normaliser import read_table
from kg_service.linking.prior import fit_prior, save_prior
from kg_service.linking.settings import LinkerSettings
from scoring import Hit, score_documents, score_spans

DISORDERS = tuple(next(tuis for group, tuis in read_table("semantic_groups.tsv") if group == "DISO").split())
PARTS = {
    "choose": {"bc5cdr": lambda: bc5cdr("train"), "roco": lambda: roco(4001, 8180), "medmentions": lambda: medmentions(1, 2135)},
    "report": {"bc5cdr": lambda: bc5cdr("dev"), "roco": lambda: roco(1, 4000), "medmentions": lambda: medmentions(2136, 2635)},
}


NESTED = {"roco"}
"""Where parts of a longer name count too; BC5CDR and MedMentions label the longest name alone."""


def hits_of(linked: LinkedCaption) -> list[Hit]:
    return [Hit(mention.start, mention.end, mention.cui) for mention in linked.mentions]


def settings_for(corpus: str, prior: str = "") -> LinkerSettings:
    return LinkerSettings(semantic_types=DISORDERS if corpus == "bc5cdr" else (), nested=corpus in NESTED, prior=prior)


def run(corpus: str, documents: Sequence[Document], name: VocabularyName, prior: str = "") -> None:
    """Prints scores: documents with the concepts that the vocabulary has, and for MedMentions with all."""
    linker = build_linker("dictionary", vocabulary(name), settings_for(corpus, prior))
    start = time.process_time()
    hits = [hits_of(linked) for linked in linker.link([document.text for document in documents])]
    speed = len(documents) / (time.process_time() - start)
    for label, gold in (("in the vocabulary", within(documents, vocabulary(name))), ("all gold", documents)):
        spans = f"spans {score_spans(gold, hits)}   " if corpus != "roco" else ""
        known = "prior" if prior else "     "
        print(
            f"{corpus:12} {name} {known}  {label:17}  {spans}documents {score_documents(gold, hits)}   {speed:.0f} a CPU s",
            flush=True,
        )


def fitted(corpus: str, name: VocabularyName, folder: str) -> str:
    """A prior fitted on what may be learned from, saved."""
    documents = within(PARTS["choose"][corpus](), vocabulary(name))
    linker = build_linker("dictionary", vocabulary(name))
    path = Path(folder) / f"{corpus}-{name}"
    save_prior(fit_prior(documents, linker), path)
    return str(path)


if __name__ == "__main__":
    part = sys.argv[1] if len(sys.argv) > 1 else "choose"
    with TemporaryDirectory() as folder:
        for corpus, load in PARTS[part].items():
            documents = load()
            for name in ("A", "B") if corpus != "bc5cdr" else ("A",):
                run(corpus, documents, name)
                if part == "report":
                    run(corpus, documents, name, fitted(corpus, name, folder))
